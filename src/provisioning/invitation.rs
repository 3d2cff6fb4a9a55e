//! Invitations: of a customer's administrator, to register or to sign in at Microsoft for a service, and of a partner.

use super::named;
use serde::{Deserialize, Serialize};
use time::Duration;
use utoipa::ToSchema;

/// How long a link can be used.
pub const INVITATION_LASTS: Duration = Duration::days(7);
/// Between two letters of one invitation.
pub const RESEND_PAUSE: Duration = Duration::MINUTE;
/// Wrong codes after which an invitation hears of no more, until it is sent again.
pub const MOST_WRONG_CODES: u32 = 10;
/// What codes are made of: nothing that is taken for something else. 32 of them, 5 bits each.
const CODE_LETTERS: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
/// How long somebody may stay at Microsoft's page of consent.
pub const QUESTION_LASTS: Duration = Duration::minutes(15);

/// How far an invitation is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InvitationState {
    /// Its link has not been opened.
    #[default]
    Created,
    /// It has.
    Opened,
    /// An administrator has signed in; the organisation has not consented yet.
    TokenAcquired,
    /// It has: the service can be upgraded.
    AuthenticationComplete,
    /// Its time was over before that.
    Expired,
    /// It was taken back.
    Revoked,
}

named!(InvitationState {
    Created => "created", Opened => "opened", TokenAcquired => "token_acquired",
    AuthenticationComplete => "authentication_complete", Expired => "expired", Revoked => "revoked",
});

/// Whether an invitation's page demands the code of the letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InvitationCode {
    /// The link is all that is needed.
    None,
    /// Nothing goes on without it.
    Wanted,
    /// It was given.
    Given,
}

named!(InvitationCode { None => "none", Wanted => "wanted", Given => "given" });

/// A code for people to copy, of 60 random bits: `7KQM-2ZPA-XW4T`.
pub fn invitation_code(random: [u8; 12]) -> String {
    let mut code = String::with_capacity(14);
    for (place, byte) in random.into_iter().enumerate() {
        if place > 0 && place % 4 == 0 {
            code.push('-');
        }
        code.push(char::from(CODE_LETTERS[usize::from(byte % 32)]));
    }
    code
}

/// A code as somebody typed it, in the form of [`invitation_code`]: case, blanks and dashes do not count.
pub fn typed_code(text: &str) -> String {
    let mut code = String::with_capacity(14);
    let letters = text.chars().filter(char::is_ascii_alphanumeric);
    // One more than there are: what is too long is wrong.
    for (place, letter) in letters.take(13).enumerate() {
        if place > 0 && place % 4 == 0 {
            code.push('-');
        }
        code.push(letter.to_ascii_uppercase());
    }
    code
}

/// What happens to an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvitationEvent {
    /// Somebody looks at its page.
    Opened,
    /// An administrator of the expected tenant has signed in.
    SignedIn,
    /// The whole organisation has consented.
    Consented,
    /// What the sign-in gave no longer counts.
    TokenLost,
    /// Its time is over.
    Expired,
    /// Whoever sent it takes it back.
    Revoked,
    /// It is sent anew, with another link.
    Renewed,
}

impl InvitationState {
    /// The state that follows; none where the event means nothing any more.
    pub fn on(self, event: InvitationEvent) -> Option<Self> {
        use InvitationEvent as Event;
        use InvitationState::*;
        match (self, event) {
            (Created, Event::Opened) => Some(Opened),
            (Opened | TokenAcquired | AuthenticationComplete, Event::Opened) => Some(self),
            // A token can be lost, and the sign-in done again.
            (Created | Opened | TokenAcquired | AuthenticationComplete, Event::SignedIn) => {
                Some(TokenAcquired)
            }
            (TokenAcquired | AuthenticationComplete, Event::Consented) => {
                Some(AuthenticationComplete)
            }
            (TokenAcquired | AuthenticationComplete, Event::TokenLost) => Some(Opened),
            (Created | Opened | TokenAcquired, Event::Expired) => Some(Expired),
            (Created | Opened | TokenAcquired | Expired, Event::Revoked) => Some(Revoked),
            (Created | Expired, Event::Renewed) => Some(Created),
            (Opened | TokenAcquired, Event::Renewed) => Some(self),
            _ => None,
        }
    }

    /// Whether its link leads to something.
    pub fn is_open(self) -> bool {
        !matches!(self, Self::Expired | Self::Revoked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However a code is typed it is the same one, and a longer one is another.
    #[test]
    fn codes_are_read_as_they_are_typed() {
        let code = invitation_code([0, 1, 31, 32, 255, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(code, "23Z2-ZBCD-EFGH");
        for typed in ["23z2zbcdefgh", " 23Z2 ZBCD EFGH ", "23Z2-ZBCD-EFGH"] {
            assert_eq!(typed_code(typed), code);
        }
        assert_ne!(typed_code("23Z2-ZBCD-EFGHJ"), code);
        assert_ne!(typed_code("23Z2-ZBCD-EFG"), code);
        assert_eq!(typed_code(&"2".repeat(1000)).len(), 16);
    }

    /// S3's way through the wizard, and what ends it.
    #[test]
    fn an_invitation_goes_its_way_and_ends() {
        use InvitationEvent as Event;
        use InvitationState::*;
        let way = [
            (Event::Opened, Opened),
            (Event::Opened, Opened),
            (Event::SignedIn, TokenAcquired),
            (Event::Consented, AuthenticationComplete),
        ];
        let mut state = Created;
        for (event, next) in way {
            state = state.on(event).unwrap();
            assert_eq!(state, next);
        }
        for event in [Event::Expired, Event::Revoked, Event::Renewed] {
            assert_eq!(
                state.on(event),
                None,
                "what is complete stays so: {event:?}"
            );
        }
        assert_eq!(state.on(Event::TokenLost), Some(Opened));
        assert_eq!(Opened.on(Event::Consented), None, "nobody has signed in");
        assert_eq!(Created.on(Event::Expired), Some(Expired));
        assert_eq!(Expired.on(Event::Renewed), Some(Created));
        assert_eq!(TokenAcquired.on(Event::Renewed), Some(TokenAcquired));
        for event in [
            Event::Opened,
            Event::SignedIn,
            Event::Renewed,
            Event::Expired,
        ] {
            assert_eq!(Revoked.on(event), None, "{event:?}");
            assert!(event == Event::Renewed || Expired.on(event).is_none());
        }
    }
}
