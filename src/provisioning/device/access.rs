use super::Mac;
use crate::directory::Secret;
use subtle::ConstantTimeEq;
use time::OffsetDateTime;

/// What there is to prove that a telephone is the one whose file it wants.
#[derive(Debug, Clone)]
pub struct Lock<'a> {
    /// Whose file.
    pub mac: Mac,
    /// With [`Self::mac`] as user name; it stands in the file itself.
    pub password: &'a Secret,
    /// Until then the file is given to whoever asks first.
    pub open_until: Option<OffsetDateTime>,
    /// Whether somebody has.
    pub opened: bool,
}

/// What whoever asks shows.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// The address in a certificate that a maker vouches for.
    pub certificate: Option<Mac>,
    /// User name and password (RFC 7617).
    pub credentials: Option<(String, Secret)>,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is the telephone.
    Granted,
    /// It is believed to be, for this one time.
    Once,
    /// It has to show a proof.
    Unproven,
    /// It is another telephone.
    Forbidden,
}

impl Lock<'_> {
    /// A certificate says most; credentials that are wrong are worse than none.
    pub fn access(&self, shown: &Shown, now: OffsetDateTime) -> Access {
        if let Some(mac) = shown.certificate {
            return match mac == self.mac {
                true => Access::Granted,
                false => Access::Forbidden,
            };
        }
        if let Some((user, password)) = &shown.credentials {
            let is_user = user.parse() == Ok(self.mac);
            let theirs = password.expose().as_bytes();
            let is_password = bool::from(theirs.ct_eq(self.password.expose().as_bytes()));
            return match is_user && is_password {
                true => Access::Granted,
                false => Access::Unproven,
            };
        }
        let is_open = self.open_until.is_some_and(|until| now < until) && !self.opened;
        match is_open {
            true => Access::Once,
            false => Access::Unproven,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn access(shown: &Shown, open_until: Option<OffsetDateTime>, opened: bool) -> Access {
        let password = Secret::new("p4ss");
        let lock = Lock {
            mac: "001565aabbcc".parse().unwrap(),
            password: &password,
            open_until,
            opened,
        };
        lock.access(shown, NOW)
    }

    /// D-20: its own certificate or credentials open the file at any time, another's never, and nothing opens it once
    /// within its time.
    #[test]
    fn a_file_is_given_to_its_telephone() {
        let open = Some(NOW + Duration::minutes(30));
        let certificate = |mac: &str| Shown {
            certificate: mac.parse().ok(),
            credentials: None,
        };
        let credentials = |user: &str, password: &str| Shown {
            certificate: None,
            credentials: Some((user.to_owned(), Secret::new(password))),
        };
        let nothing = Shown::default();
        for (shown, until, opened, expected) in [
            (certificate("001565aabbcc"), None, false, Access::Granted),
            (certificate("001565aabbcd"), open, false, Access::Forbidden),
            (
                credentials("00:15:65:AA:BB:CC", "p4ss"),
                None,
                true,
                Access::Granted,
            ),
            (
                credentials("001565aabbcc", "p4s"),
                open,
                false,
                Access::Unproven,
            ),
            (
                credentials("001565aabbcd", "p4ss"),
                open,
                false,
                Access::Unproven,
            ),
            (nothing.clone(), open, false, Access::Once),
            (nothing.clone(), open, true, Access::Unproven),
            (nothing.clone(), Some(NOW), false, Access::Unproven),
            (nothing, None, false, Access::Unproven),
        ] {
            assert_eq!(
                access(&shown, until, opened),
                expected,
                "{shown:?} {until:?}"
            );
        }
    }
}
