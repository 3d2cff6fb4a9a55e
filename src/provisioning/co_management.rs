use super::named;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether carrier and partner may do the customer's own business: its users, and which number is whose. Ooma's "Allow
/// Carrier to co-manage Your Service" and TeamMate's "Consent for Enterprise Management" are this one thing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CoManagement {
    /// Whether carrier or partner asked for it.
    pub requested: bool,
    /// Where it stands.
    pub state: Consent,
}

/// Where the customer's consent stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Consent {
    /// Nobody asked, and nobody gave.
    #[default]
    None,
    /// Asked for.
    Pending,
    /// Given by the customer.
    Granted,
    /// Refused or taken back by the customer.
    Revoked,
}

named!(Consent { None => "none", Pending => "pending", Granted => "granted", Revoked => "revoked" });

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party {
    /// The customer's administrator.
    Customer,
    /// The carrier or a partner.
    Provider,
}

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To be given consent.
    Request,
    /// Neither consent nor its request any longer.
    Withdraw,
    /// To give consent.
    Grant,
    /// To end the consent; whoever gave up what it had may be given it again.
    Revoke,
}

/// A wish that only the other party may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotYours {
    /// Consent is the customer's to give.
    #[error("only the customer grants co-management")]
    CustomerGrants,
    /// A request is the provider's to make.
    #[error("only the carrier or a partner requests co-management")]
    ProviderRequests,
}

impl CoManagement {
    /// What comes of a wish. The customer may grant unasked.
    pub fn on(self, party: Party, wish: Wish) -> Result<Self, NotYours> {
        use Consent::{Granted, None, Pending, Revoked};
        let to = |requested, state| Self { requested, state };
        Ok(match (party, wish, self.state) {
            (Party::Customer, Wish::Request, _) => return Err(NotYours::ProviderRequests),
            (Party::Customer, Wish::Grant, _) => to(self.requested, Granted),
            (Party::Customer, Wish::Revoke | Wish::Withdraw, Pending | Granted) => {
                to(self.requested, Revoked)
            }
            (Party::Customer, Wish::Revoke | Wish::Withdraw, None | Revoked) => self,
            (Party::Provider, Wish::Grant, _) => return Err(NotYours::CustomerGrants),
            (Party::Provider, Wish::Request, Granted) => to(true, Granted),
            (Party::Provider, Wish::Request, None | Pending | Revoked) => to(true, Pending),
            (Party::Provider, Wish::Withdraw, _) => to(false, None),
            (Party::Provider, Wish::Revoke, Granted) => to(true, Pending),
            (Party::Provider, Wish::Revoke, None | Pending | Revoked) => self,
        })
    }

    /// What the seeds' lists show under "Can manage?".
    pub fn can_manage(self) -> bool {
        self.state == Consent::Granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(steps: &[(Party, Wish)]) -> Result<(bool, Consent), NotYours> {
        let end = steps
            .iter()
            .try_fold(CoManagement::default(), |now, (party, wish)| {
                now.on(*party, *wish)
            })?;
        Ok((end.requested, end.state))
    }

    /// S0: the customer's own switch, at any time, asked or not.
    #[test]
    fn the_customer_switches_it_as_it_likes() {
        use Party::Customer;
        assert_eq!(play(&[]), Ok((false, Consent::None)));
        let on = (Customer, Wish::Grant);
        let off = (Customer, Wish::Revoke);
        assert_eq!(play(&[on]), Ok((false, Consent::Granted)));
        assert_eq!(play(&[on, off]), Ok((false, Consent::Revoked)));
        assert_eq!(play(&[off]), Ok((false, Consent::None)));
        assert_eq!(play(&[on, off, on]), Ok((false, Consent::Granted)));
    }

    /// S2: not requested, Pending Consent, Granted Consent, back to Pending when the reseller revokes.
    #[test]
    fn a_provider_asks_and_gives_back_but_never_grants() {
        use Party::{Customer, Provider};
        let ask = (Provider, Wish::Request);
        let grant = (Customer, Wish::Grant);
        assert_eq!(play(&[ask]), Ok((true, Consent::Pending)));
        assert_eq!(play(&[ask, grant]), Ok((true, Consent::Granted)));
        assert_eq!(play(&[ask, grant, ask]), Ok((true, Consent::Granted)));
        let back = (Provider, Wish::Revoke);
        assert_eq!(play(&[ask, grant, back]), Ok((true, Consent::Pending)));
        let out = (Provider, Wish::Withdraw);
        assert_eq!(play(&[ask, grant, out]), Ok((false, Consent::None)));
        let refuse = (Customer, Wish::Revoke);
        assert_eq!(play(&[ask, refuse]), Ok((true, Consent::Revoked)));
        assert_eq!(play(&[ask, refuse, ask]), Ok((true, Consent::Pending)));
        assert_eq!(
            play(&[ask, (Provider, Wish::Grant)]),
            Err(NotYours::CustomerGrants)
        );
        assert_eq!(
            play(&[(Customer, Wish::Request)]),
            Err(NotYours::ProviderRequests)
        );
    }
}
