//! STUN (RFC 8489) as far as connectivity checks need it (RFC 8445 §7): messages are read in place and written into
//! the caller's buffer.
//!
//! [`Message::parse`] takes what is a STUN message whole: cookie, lengths, the shape of every attribute that is known
//! here, and the FINGERPRINT if there is one. Whether the message is the peer's is another question, which
//! [`Message::is_authentic`] answers; before that nothing in it may be believed.

mod crc;
mod key;
mod write;

pub use key::Key;
pub use write::Writer;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Length of a message without attributes.
pub const HEADER: usize = 20;
/// The only method of RFC 8489, and the one that checks are made of.
pub const BINDING: u16 = 1;
/// Bytes 4 to 8 of every message (RFC 8489 §5).
const COOKIE: [u8; 4] = 0x2112_a442_u32.to_be_bytes();
/// The type and the length of an attribute.
const ATTRIBUTE: usize = 4;
/// Length of a MESSAGE-INTEGRITY: HMAC-SHA1.
const CODE: usize = 20;

/// Attributes of RFC 8489 §14 and RFC 8445 §16.1. Those below 0x8000 must be understood.
pub mod kind {
    /// For peers of RFC 3489; never written here.
    pub const MAPPED_ADDRESS: u16 = 0x0001;
    /// Both sides' ICE user name fragments, the receiver's first.
    pub const USERNAME: u16 = 0x0006;
    /// HMAC-SHA1 of all before it.
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    /// In error responses.
    pub const ERROR_CODE: u16 = 0x0009;
    /// In a 420.
    pub const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
    /// Of long-term credentials, which ICE does not use.
    pub const REALM: u16 = 0x0014;
    /// Of long-term credentials, which ICE does not use.
    pub const NONCE: u16 = 0x0015;
    /// Where the request came from, as its receiver saw it.
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    /// Of the peer-reflexive candidate that a check may make known.
    pub const PRIORITY: u16 = 0x0024;
    /// The controlling side nominates this pair.
    pub const USE_CANDIDATE: u16 = 0x0025;
    /// The sender's program.
    pub const SOFTWARE: u16 = 0x8022;
    /// CRC-32 of all before it.
    pub const FINGERPRINT: u16 = 0x8028;
    /// The sender is controlled.
    pub const ICE_CONTROLLED: u16 = 0x8029;
    /// The sender is controlling.
    pub const ICE_CONTROLLING: u16 = 0x802a;
}

/// What tells a response's request (RFC 8489 §5).
pub type Transaction = [u8; 12];

/// RFC 8489 §5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Wants a response.
    Request,
    /// Wants none.
    Indication,
    /// The request was obeyed.
    Success,
    /// The request was not obeyed.
    Error,
}

/// Which side of ICE a check's sender claims, with its tie-breaker (RFC 8445 §7.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It nominates.
    Controlling(u64),
    /// It does not.
    Controlled(u64),
}

/// Why bytes are no STUN message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StunError {
    /// The first two bits are set, or the cookie is not there: another protocol (RFC 7983), or RFC 3489.
    #[error("no STUN message")]
    NotStun,
    /// The header's length is not that of the datagram, or no multiple of four.
    #[error("the length is wrong")]
    Length,
    /// An attribute reaches beyond the end, or a known one has not the form it must have.
    #[error("malformed attribute")]
    Attribute,
    /// The FINGERPRINT is wrong or not the last attribute.
    #[error("wrong fingerprint")]
    Fingerprint,
}

/// Whether a datagram that comes to a media port is STUN, by its first byte (RFC 7983 §7).
pub fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| *first < 4)
}

/// A well-formed message, read in place.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// What the message is.
    pub class: Class,
    /// What it is about; [`BINDING`] in ICE.
    pub method: u16,
    /// The same in request and response.
    pub transaction: Transaction,
    bytes: &'a [u8],
    /// Where the attributes end that count: what follows a MESSAGE-INTEGRITY is not covered by it.
    end: usize,
    code: Option<&'a [u8; CODE]>,
}

impl<'a> Message<'a> {
    /// Reads the datagram, of which the message must be the whole.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, StunError> {
        let header: &[u8; HEADER] = bytes.first_chunk().ok_or(StunError::NotStun)?;
        if header[0] >= 0x40 || header[4..8] != COOKIE {
            return Err(StunError::NotStun);
        }
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if length != bytes.len() - HEADER || length % 4 != 0 {
            return Err(StunError::Length);
        }
        let (class, method) = kind_of(u16::from_be_bytes([header[0], header[1]]));
        let mut transaction = [0; 12];
        transaction.copy_from_slice(&header[8..]);
        let mut message = Self {
            class,
            method,
            transaction,
            bytes,
            end: bytes.len(),
            code: None,
        };
        message.examine()?;
        Ok(message)
    }

    /// Walks over all attributes, and finds the end of those that count.
    fn examine(&mut self) -> Result<(), StunError> {
        let mut at = HEADER;
        while at < self.bytes.len() {
            let (kind, value, next) = attribute(self.bytes, at).ok_or(StunError::Attribute)?;
            match kind {
                kind::FINGERPRINT => {
                    let sum = crc::fingerprint(&self.bytes[..at]).to_be_bytes();
                    if next != self.bytes.len() || value != sum {
                        return Err(StunError::Fingerprint);
                    }
                    self.end = self.end.min(at);
                }
                // Covered by nothing, so that anybody may have put it there (RFC 8489 §14.5).
                _ if self.code.is_some() => {}
                kind::MESSAGE_INTEGRITY => {
                    self.code = Some(value.try_into().map_err(|_| StunError::Attribute)?);
                    self.end = at;
                }
                _ if has_form(kind, value) => {}
                _ => return Err(StunError::Attribute),
            }
            at = next;
        }
        Ok(())
    }

    /// The attributes that count, in order, with their types: all before MESSAGE-INTEGRITY or FINGERPRINT.
    pub fn attributes(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let (bytes, mut at) = (&self.bytes[..self.end], HEADER);
        std::iter::from_fn(move || {
            let (kind, value, next) = attribute(bytes, at)?;
            at = next;
            Some((kind, value))
        })
    }

    /// The first of this type; others of it do not count (RFC 8489 §14).
    fn find(&self, kind: u16) -> Option<&'a [u8]> {
        self.attributes()
            .find_map(|(k, value)| (k == kind).then_some(value))
    }

    /// Whether there is a MESSAGE-INTEGRITY at all.
    pub fn has_integrity(&self) -> bool {
        self.code.is_some()
    }

    /// Whether the MESSAGE-INTEGRITY is right under this key (RFC 8489 §9.1.3); compared in constant time.
    pub fn is_authentic(&self, key: &Key) -> bool {
        self.code
            .is_some_and(|code| key.verifies(&self.bytes[..self.end], code))
    }

    /// USERNAME: in ICE `receiver:sender`.
    pub fn username(&self) -> Option<&'a [u8]> {
        self.find(kind::USERNAME)
    }

    /// PRIORITY.
    pub fn priority(&self) -> Option<u32> {
        self.find(kind::PRIORITY).and_then(number)
    }

    /// USE-CANDIDATE.
    pub fn nominates(&self) -> bool {
        self.find(kind::USE_CANDIDATE).is_some()
    }

    /// ICE-CONTROLLING or ICE-CONTROLLED.
    pub fn role(&self) -> Option<Role> {
        self.attributes().find_map(|(kind, value)| match kind {
            kind::ICE_CONTROLLING => Some(Role::Controlling(tie_breaker(value)?)),
            kind::ICE_CONTROLLED => Some(Role::Controlled(tie_breaker(value)?)),
            _ => None,
        })
    }

    /// XOR-MAPPED-ADDRESS.
    pub fn mapped(&self) -> Option<SocketAddr> {
        self.find(kind::XOR_MAPPED_ADDRESS)
            .and_then(|value| address(value, &self.transaction))
    }

    /// ERROR-CODE, without its reason phrase.
    pub fn error(&self) -> Option<u16> {
        match self.find(kind::ERROR_CODE)? {
            [_, _, class, number, ..] => Some(u16::from(class & 7) * 100 + u16::from(*number)),
            _ => None,
        }
    }

    /// Types that must be understood, and are not (RFC 8489 §6.3.1).
    pub fn unknown(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.attributes()
            .map(|(kind, _)| kind)
            .filter(|kind| *kind < 0x8000 && !KNOWN.contains(kind))
    }
}

/// Those that must be understood, and are.
const KNOWN: [u16; 10] = [
    kind::MAPPED_ADDRESS,
    kind::USERNAME,
    kind::MESSAGE_INTEGRITY,
    kind::ERROR_CODE,
    kind::UNKNOWN_ATTRIBUTES,
    kind::REALM,
    kind::NONCE,
    kind::XOR_MAPPED_ADDRESS,
    kind::PRIORITY,
    kind::USE_CANDIDATE,
];

/// RFC 8489 §5, figure 3: the class's two bits lie among the method's twelve.
fn kind_of(bits: u16) -> (Class, u16) {
    let class = match (bits & 0x0100 != 0, bits & 0x0010 != 0) {
        (false, false) => Class::Request,
        (false, true) => Class::Indication,
        (true, false) => Class::Success,
        (true, true) => Class::Error,
    };
    let method = bits & 0x000f | (bits & 0x00e0) >> 1 | (bits & 0x3e00) >> 2;
    (class, method)
}

/// The attribute at this place, and where the next one begins.
fn attribute(bytes: &[u8], at: usize) -> Option<(u16, &[u8], usize)> {
    let head: &[u8; ATTRIBUTE] = bytes.get(at..)?.first_chunk()?;
    let kind = u16::from_be_bytes([head[0], head[1]]);
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let value_at = at + ATTRIBUTE;
    let next = value_at + length.next_multiple_of(4);
    let value = bytes.get(value_at..value_at + length)?;
    (next <= bytes.len()).then_some((kind, value, next))
}

/// Whether what is known here has the length that it must have (RFC 8489 §14, RFC 8445 §16.1).
fn has_form(kind: u16, value: &[u8]) -> bool {
    match kind {
        kind::USERNAME => value.len() <= 512,
        kind::PRIORITY => value.len() == 4,
        kind::USE_CANDIDATE => value.is_empty(),
        kind::ICE_CONTROLLED | kind::ICE_CONTROLLING => value.len() == 8,
        kind::XOR_MAPPED_ADDRESS => {
            matches!((value.get(1), value.len()), (Some(1), 8) | (Some(2), 20))
        }
        kind::ERROR_CODE => {
            matches!(value, [_, _, class, number, ..] if (3..=6).contains(&(class & 7)) && *number < 100)
        }
        _ => true,
    }
}

fn number(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

fn tie_breaker(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_be_bytes)
}

/// RFC 8489 §14.2.
fn address(value: &[u8], transaction: &Transaction) -> Option<SocketAddr> {
    let (head, address) = value.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes([head[2] ^ COOKIE[0], head[3] ^ COOKIE[1]]);
    let mask = mask(transaction);
    let ip = if let Ok(octets) = <[u8; 4]>::try_from(address) {
        IpAddr::V4(Ipv4Addr::from(xor(octets, &mask)))
    } else {
        IpAddr::V6(Ipv6Addr::from(xor(
            <[u8; 16]>::try_from(address).ok()?,
            &mask,
        )))
    };
    Some(SocketAddr::new(ip, port))
}

fn mask(transaction: &Transaction) -> [u8; 16] {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&COOKIE);
    mask[4..].copy_from_slice(transaction);
    mask
}

fn xor<const N: usize>(mut bytes: [u8; N], mask: &[u8; 16]) -> [u8; N] {
    for (byte, mask) in bytes.iter_mut().zip(mask) {
        *byte ^= mask;
    }
    bytes
}

#[cfg(test)]
mod tests;
