use super::{ATTRIBUTE, CODE, HEADER};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use std::fmt;

/// The key of a MESSAGE-INTEGRITY, with its pads hashed beforehand. Never printed.
#[derive(Clone)]
pub struct Key(Hmac<Sha1>);

impl Key {
    /// Of this password: the receiver's `a=ice-pwd` (RFC 8489 §9.1.1). It must be of ASCII, which needs no preparation.
    pub fn new(password: &[u8]) -> Self {
        Self(Hmac::new_from_slice(password).expect("HMAC takes keys of any length"))
    }

    /// Whether this is the code of a message up to its MESSAGE-INTEGRITY.
    pub(super) fn verifies(&self, covered: &[u8], code: &[u8; CODE]) -> bool {
        self.fed(covered).verify_slice(code).is_ok()
    }

    /// The code of a message up to its MESSAGE-INTEGRITY.
    pub(super) fn code(&self, covered: &[u8]) -> [u8; CODE] {
        self.fed(covered).finalize().into_bytes().into()
    }

    /// RFC 8489 §14.5: the length in the header counts the MESSAGE-INTEGRITY, and nothing behind it.
    fn fed(&self, covered: &[u8]) -> Hmac<Sha1> {
        let length = (covered.len() + ATTRIBUTE + CODE - HEADER) as u16;
        let mut code = self.0.clone();
        code.update(&covered[..2]);
        code.update(&length.to_be_bytes());
        code.update(&covered[4..]);
        code
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}
