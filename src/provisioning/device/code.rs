use crate::base::Random;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// By which somebody at a telephone says whose it is: thirteen digits, of which the last is the check digit of Luhn.
#[derive(Clone, PartialEq, Eq)]
pub struct ActivationCode(String);

/// Not an activation code, whoever says it and why ever: nobody is helped to guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 13 digits, of which the last proves the others")]
pub struct NoCode;

const DIGITS: usize = 13;

impl ActivationCode {
    /// A new one.
    pub fn random(random: &mut Random) -> Self {
        let body = format!("{:012}", random.u64() % 1_000_000_000_000);
        let check = (10 - sum(&body, true) % 10) % 10;
        Self(format!("{body}{check}"))
    }

    /// For whoever types it.
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// By which it is found again.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

/// Blanks and hyphens do not count.
impl FromStr for ActivationCode {
    type Err = NoCode;

    fn from_str(text: &str) -> Result<Self, NoCode> {
        if text.len() > 4 * DIGITS {
            return Err(NoCode);
        }
        let digits = text.replace([' ', '-'], "");
        let is_code = digits.len() == DIGITS
            && digits.bytes().all(|c| c.is_ascii_digit())
            && sum(&digits, false).is_multiple_of(10);
        is_code.then_some(Self(digits)).ok_or(NoCode)
    }
}

/// It opens a line: it is nobody's business but the user's.
impl fmt::Debug for ActivationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ActivationCode(…)")
    }
}

/// Luhn's sum; `doubled`: whether the last digit counts twice.
fn sum(digits: &str, doubled: bool) -> u32 {
    let value = |(place, byte): (usize, u8)| {
        let digit = u32::from(byte - b'0');
        match (place % 2 == 0) == doubled {
            true if digit > 4 => digit * 2 - 9,
            true => digit * 2,
            false => digit,
        }
    };
    digits.bytes().rev().enumerate().map(value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each code is read as itself; a wrong digit, or two neighbours exchanged, is no code.
    #[test]
    fn a_code_proves_itself() {
        let mut random = Random::from_number(1);
        for _ in 0..200 {
            let code = ActivationCode::random(&mut random);
            assert_eq!(code.digits().len(), 13);
            assert_eq!(code.digits().parse(), Ok(code.clone()));
            for place in 0..13 {
                let mut wrong = code.digits().as_bytes().to_vec();
                wrong[place] = b'0' + (wrong[place] - b'0' + 1) % 10;
                let wrong = String::from_utf8(wrong).unwrap();
                assert!(wrong.parse::<ActivationCode>().is_err());
            }
        }
    }

    #[test]
    fn a_code_is_read_as_people_write_it() {
        let code: ActivationCode = "7992-7398 7130 0".parse().unwrap();
        assert_eq!(code.digits(), "7992739871300");
        for bad in [
            "",
            "7992739871305",
            "799273987130",
            "79927398713000",
            "799273987130a",
        ] {
            assert!(bad.parse::<ActivationCode>().is_err(), "{bad}");
        }
        assert!("1".repeat(1000).parse::<ActivationCode>().is_err());
        assert!(!format!("{code:?}").contains("7992"));
    }
}
