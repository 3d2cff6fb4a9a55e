use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use std::fmt;

/// The crypto-suites that we speak (RFC 4568 §6.2, RFC 6188 §4, RFC 7714 §14.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Suite {
    /// The one that Teams demands (TDR-831).
    AesCm128HmacSha1_80,
    /// The same with a tag of four bytes.
    AesCm128HmacSha1_32,
    /// With a key of 256 bits.
    AesCm256HmacSha1_80,
    /// Encrypted and authenticated at once.
    AeadAes128Gcm,
    /// The same with a key of 256 bits.
    AeadAes256Gcm,
}

impl Suite {
    const ALL: [Self; 5] = [
        Self::AesCm128HmacSha1_80,
        Self::AesCm128HmacSha1_32,
        Self::AesCm256HmacSha1_80,
        Self::AeadAes128Gcm,
        Self::AeadAes256Gcm,
    ];

    /// Bytes of its master key and master salt together.
    pub fn key_length(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 => 16 + 14,
            Self::AesCm256HmacSha1_80 => 32 + 14,
            Self::AeadAes128Gcm => 16 + 12,
            Self::AeadAes256Gcm => 32 + 12,
        }
    }

    /// As in a crypto line.
    pub fn name(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AesCm256HmacSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }
}

/// A master key and, right behind it, its master salt, as in an `inline:` parameter; as many bytes as its suite has.
/// Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    bytes: [u8; MasterKey::LONGEST],
    length: usize,
}

impl MasterKey {
    /// Bytes of the longest.
    pub const LONGEST: usize = 46;

    /// A key of these bytes, if they are not too many for any suite.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut key = Self {
            bytes: [0; Self::LONGEST],
            length: bytes.len(),
        };
        key.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(key)
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// All of it, with zeros behind.
    pub fn padded(&self) -> &[u8; Self::LONGEST] {
        &self.bytes
    }
}

impl<const N: usize> From<[u8; N]> for MasterKey {
    fn from(bytes: [u8; N]) -> Self {
        const { assert!(N <= MasterKey::LONGEST) };
        Self::new(&bytes).expect("checked when this was compiled")
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// A master key identifier (RFC 4568 §6.1): what the key's owner appends to each packet before the tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mki {
    /// As many bytes as travel in a packet, 1 to 128, most significant first.
    pub bytes: Vec<u8>,
}

impl Mki {
    /// `value:length`, both decimal.
    fn parse(text: &str) -> Result<Self, CryptoError> {
        let (value, length) = text.split_once(':').ok_or(CryptoError::Mki)?;
        let length: usize = decimal(length)
            .and_then(|n| n.try_into().ok())
            .ok_or(CryptoError::Mki)?;
        let value = decimal(value).ok_or(CryptoError::Mki)?.to_be_bytes();
        if !(1..=128).contains(&length) || value.iter().rev().skip(length).any(|&b| b != 0) {
            return Err(CryptoError::Mki);
        }
        let mut bytes = vec![0; length.saturating_sub(value.len())];
        bytes.extend_from_slice(&value[value.len().saturating_sub(length)..]);
        Ok(Self { bytes })
    }

    /// The number, where it fits 64 bits, as it does in whatever was parsed.
    fn value(&self) -> u64 {
        self.bytes
            .iter()
            .fold(0, |value, &byte| (value << 8) | u64::from(byte))
    }
}

/// An `a=crypto` line that can be used (RFC 4568 §9.1 and §9.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CryptoLine {
    /// Unique within its medium; an answer repeats that of the line it takes.
    pub tag: u32,
    /// How packets are protected.
    pub suite: Suite,
    /// The key of the line's writer.
    pub key: MasterKey,
    /// Packets under the key before it must be replaced, if said.
    pub lifetime: Option<u64>,
    /// If the writer appends one.
    pub mki: Option<Mki>,
}

/// Why a crypto line is passed over. Never holds a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// RFC 4568 §9.1: tag, suite and key parameter.
    #[error("a crypto line needs a tag, a suite and a key")]
    Incomplete,
    /// One to nine digits without leading zeros.
    #[error("the crypto tag is no number")]
    Tag,
    /// Another suite than ours.
    #[error("the crypto suite is not supported")]
    Suite,
    /// Several keys need MKIs to tell them apart; nobody sends them in earnest.
    #[error("the crypto line holds several keys")]
    SeveralKeys,
    /// Not `inline:`, not base64, or not as long as the suite's.
    #[error("the key is not base64 of as many bytes as the suite has")]
    Key,
    /// Neither `2^n` with n up to 48, nor a number from 1 to 2^48.
    #[error("the key's lifetime is no number of packets")]
    Lifetime,
    /// Not `value:length`, or too long for its length.
    #[error("the master key identifier does not fit its length")]
    Mki,
    /// RFC 4568 §6.3.7: not known, not prefixed by a dash; or known and not supported (TDR-835).
    #[error("a mandatory session parameter is not supported")]
    SessionParameter,
}

impl CryptoLine {
    /// Reads what follows `a=crypto:`.
    pub fn parse(value: &str) -> Result<Self, CryptoError> {
        let mut words = value.split_ascii_whitespace();
        let mut word = || words.next().ok_or(CryptoError::Incomplete);
        let (tag, suite, key) = (word()?, word()?, word()?);
        if !words.all(is_harmless) {
            return Err(CryptoError::SessionParameter);
        }
        let suite = Suite::ALL
            .into_iter()
            .find(|s| s.name().eq_ignore_ascii_case(suite))
            .ok_or(CryptoError::Suite)?;
        if key.contains(';') {
            return Err(CryptoError::SeveralKeys);
        }
        let mut parts = key.split('|');
        let key = parts
            .next()
            .and_then(inline)
            .filter(|key| key.length == suite.key_length())
            .ok_or(CryptoError::Key)?;
        let (mut lifetime, mut mki) = (None, None);
        for part in parts {
            // The lifetime comes first if there is one; only an identifier has a colon.
            if part.contains(':') && mki.is_none() {
                mki = Some(Mki::parse(part)?);
            } else if lifetime.is_none() && mki.is_none() {
                lifetime = Some(packets(part).ok_or(CryptoError::Lifetime)?);
            } else {
                return Err(CryptoError::Lifetime);
            }
        }
        Ok(Self {
            tag: tag_number(tag).ok_or(CryptoError::Tag)?,
            suite,
            key,
            lifetime,
            mki,
        })
    }
}

/// What follows `a=crypto:`. **Shows the key**: for descriptions only.
impl fmt::Display for CryptoLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} inline:{}",
            self.tag,
            self.suite.name(),
            STANDARD.encode(self.key.bytes())
        )?;
        match self.lifetime {
            // Peers were seen that know only the form with a power of two (TDR-832).
            Some(packets) if packets.is_power_of_two() => write!(f, "|2^{}", packets.ilog2())?,
            Some(packets) => write!(f, "|{packets}")?,
            None => {}
        }
        match &self.mki {
            Some(mki) => write!(f, "|{}:{}", mki.value(), mki.bytes.len()),
            None => Ok(()),
        }
    }
}

/// Session parameters that change nothing for us (RFC 4568 §6.3): a hint at the replay window, the default order of
/// error correction that we do not use, and what its sender marks as optional.
fn is_harmless(parameter: &str) -> bool {
    parameter.starts_with('-') || parameter.starts_with("WSH=") || parameter == "FEC_ORDER=FEC_SRTP"
}

/// 30 bytes are 40 characters and need no padding; some write it nevertheless (TDR-833). Other lengths need it, and some
/// leave it out.
fn inline(text: &str) -> Option<MasterKey> {
    let (method, key) = text.split_at_checked("inline:".len())?;
    if !method.eq_ignore_ascii_case("inline:") {
        return None;
    }
    let bytes = STANDARD_NO_PAD.decode(key.trim_end_matches('=')).ok()?;
    MasterKey::new(&bytes)
}

/// RFC 3711 §9.2 allows 2^48 SRTP packets under one key.
fn packets(text: &str) -> Option<u64> {
    let packets = match text.strip_prefix("2^") {
        Some(exponent) => 1_u64.checked_shl(decimal(exponent)?.try_into().ok()?)?,
        None => decimal(text)?,
    };
    (1..=1 << 48).contains(&packets).then_some(packets)
}

fn tag_number(text: &str) -> Option<u32> {
    let canonical = text.len() <= 9 && (text == "0" || !text.starts_with('0'));
    if canonical {
        decimal(text)?.try_into().ok()
    } else {
        None
    }
}

fn decimal(text: &str) -> Option<u64> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sLtQviXZbjPA91DrzKDICqLjIDZF2tPeCpL3Siza";

    fn line(rest: &str) -> Result<CryptoLine, CryptoError> {
        CryptoLine::parse(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}{rest}"))
    }

    /// TDR-832 and TDR-833: with and without lifetime, MKI and padding; written again as they came.
    #[test]
    fn every_form_of_the_key_parameter_is_read_and_written() {
        for (rest, lifetime, mki) in [
            ("", None, None),
            ("|2^31", Some(1 << 31), None),
            ("|1000", Some(1000), None),
            ("|2^31|1:1", Some(1 << 31), Some(vec![1])),
            ("|1:4", None, Some(vec![0, 0, 0, 1])),
            ("|2^48|66051:3", Some(1 << 48), Some(vec![1, 2, 3])),
            ("|5:10", None, Some(vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 5])),
        ] {
            let line = line(rest).expect(rest);
            assert_eq!(
                (line.lifetime, line.mki.as_ref().map(|m| m.bytes.clone())),
                (lifetime, mki),
                "{rest}"
            );
            assert_eq!(
                line.to_string(),
                format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}{rest}")
            );
        }
        assert_eq!(line("=="), line(""));
        assert_eq!(
            CryptoLine::parse(&format!(" 9  aes_cm_128_hmac_sha1_32\tINLINE:{KEY}"))
                .unwrap()
                .tag,
            9
        );
    }

    #[test]
    fn session_parameters_that_matter_make_a_line_unusable() {
        for harmless in ["WSH=128", "-FUTURE=1", "FEC_ORDER=FEC_SRTP", "WSH=64 -X"] {
            assert!(line(&format!(" {harmless}")).is_ok(), "{harmless}");
        }
        for other in [
            "UNENCRYPTED_SRTCP",
            "UNENCRYPTED_SRTP",
            "UNAUTHENTICATED_SRTP",
            "KDR=3",
            "FUTURE=1",
            "WSH=64 X",
        ] {
            assert_eq!(
                line(&format!(" {other}")),
                Err(CryptoError::SessionParameter),
                "{other}"
            );
        }
    }

    #[test]
    fn a_line_that_cannot_be_used_says_why() {
        use CryptoError::*;
        for (rest, error) in [
            ("|2^49", Lifetime),
            ("|0", Lifetime),
            ("|2^x", Lifetime),
            ("|2^99999999999", Lifetime),
            ("|", Lifetime),
            ("|1:1|2^31", Lifetime),
            ("|2^31|2^31", Lifetime),
            ("|2^31|1:0", Mki),
            ("|2^31|256:1", Mki),
            ("|2^31|1:129", Mki),
            ("|:", Mki),
            ("AA", Key),
            (";inline:x", SeveralKeys),
        ] {
            assert_eq!(line(rest), Err(error), "{rest}");
        }
        for (text, error) in [
            ("1 AES_192_CM_HMAC_SHA1_80 inline:x", Suite),
            ("1 AES_CM_128_HMAC_SHA1_80", Incomplete),
            ("1 AES_CM_128_HMAC_SHA1_80 inline", Key),
            ("1 AES_CM_128_HMAC_SHA1_80 ìnline:é", Key),
        ] {
            assert_eq!(CryptoLine::parse(text), Err(error), "{text}");
        }
        for tag in ["x", "01", "1234567890", "+1", "-1"] {
            let text = format!("{tag} AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
            assert_eq!(CryptoLine::parse(&text), Err(Tag), "{tag}");
        }
    }

    /// RFC 6188 §4, RFC 7714 §14.2: each suite has keys of its own length, and no other fits.
    #[test]
    fn every_suite_has_its_key_length() {
        let lengths = [30, 30, 46, 28, 44];
        for (suite, length) in Suite::ALL.into_iter().zip(lengths) {
            for other in lengths {
                let key = STANDARD.encode(vec![7; other]);
                let line = CryptoLine::parse(&format!("1 {} inline:{key}|2^31", suite.name()));
                assert_eq!(line.is_ok(), other == length, "{suite:?} with {other}");
                let Ok(line) = line else { continue };
                assert_eq!(
                    (line.suite, line.key.bytes()),
                    (suite, &vec![7; length][..])
                );
                assert_eq!(CryptoLine::parse(&line.to_string()), Ok(line));
            }
        }
    }

    #[test]
    fn debug_hides_the_key() {
        assert!(!format!("{:?}", line("").unwrap()).contains("sLtQ"));
    }
}
