//! A full and controlling ICE agent with one candidate, as a Teams client is (RFC 8445): it checks the SBC's one
//! candidate, nominates the path once when a check has succeeded, and from then on asks for consent (RFC 7675). The
//! little STUN that it needs is its own.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// RFC 8445 §14: one check in 50 ms at most; the media task asks every 20 ms.
const PACE: u32 = 3;
/// RFC 7675 §5.1 wants one in 4 to 6 s; a test has no time for that.
const CONSENT: u32 = 25;
/// Checks whose responses may still come.
const MAX_PENDING: usize = 8;
/// Type, length, cookie and transaction.
const HEADER: usize = 20;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// `a=ice-ufrag` and `a=ice-pwd` of one side.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// In the clear in every check.
    pub ufrag: String,
    /// What checks to this side are signed with.
    pub pwd: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({})", self.ufrag)
    }
}

impl Credentials {
    /// New ones.
    pub fn random() -> Self {
        Self {
            ufrag: format!("{:06x}", rand::random::<u32>() >> 8),
            pwd: format!("{:032x}", rand::random::<u128>()),
        }
    }
}

/// Whom to check, and under which names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Of the agent itself.
    pub ours: Credentials,
    /// Of the SBC.
    pub theirs: Credentials,
    /// The SBC's candidate.
    pub to: SocketAddr,
}

/// How far a pair is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Checking,
    /// A check succeeded; the nominating one is to follow, once.
    Valid,
    Nominated,
}

/// What was sent, and is not answered.
struct Pending {
    transaction: [u8; 12],
    nominates: bool,
}

/// The checks of one pair.
pub struct Checks {
    /// Of what and whom.
    pub pair: Pair,
    tie_breaker: u64,
    phase: Phase,
    pending: VecDeque<Pending>,
    ticks: u32,
}

impl Checks {
    /// Nothing is sent yet.
    pub fn new(pair: Pair) -> Self {
        Self {
            pair,
            tie_breaker: rand::random(),
            phase: Phase::Checking,
            pending: VecDeque::new(),
            ticks: 0,
        }
    }

    /// Whether media may flow.
    pub fn is_nominated(&self) -> bool {
        self.phase == Phase::Nominated
    }

    /// The check that is due in these 20 ms.
    pub fn next(&mut self) -> Option<Vec<u8>> {
        self.ticks += 1;
        let every = if self.is_nominated() { CONSENT } else { PACE };
        if !self.ticks.is_multiple_of(every) {
            return None;
        }
        let pending = Pending {
            transaction: rand::random(),
            nominates: self.phase == Phase::Valid,
        };
        let check = self.check(&pending);
        if self.pending.len() >= MAX_PENDING {
            self.pending.pop_front();
        }
        self.pending.push_back(pending);
        Some(check)
    }

    /// RFC 8445 §7.1.
    fn check(&self, pending: &Pending) -> Vec<u8> {
        let mut bytes = vec![0, 1, 0, 0];
        bytes.extend(COOKIE);
        bytes.extend(pending.transaction);
        let username = format!("{}:{}", self.pair.theirs.ufrag, self.pair.ours.ufrag);
        append(&mut bytes, 0x0006, username.as_bytes());
        append(&mut bytes, 0x0024, &1_862_270_975_u32.to_be_bytes());
        append(&mut bytes, 0x802a, &self.tie_breaker.to_be_bytes());
        if pending.nominates {
            append(&mut bytes, 0x0025, &[]);
        }
        // What Microsoft's clients add; nobody needs to understand it.
        append(&mut bytes, 0x8070, &[0, 0, 0, 3]);
        let code = code(&bytes, &self.pair.theirs.pwd);
        append(&mut bytes, 0x0008, &code);
        let sum = fingerprint(&bytes);
        append(&mut bytes, 0x8028, &sum);
        bytes
    }

    /// Judges what came from `from` to our `local` address: whether it answers a check that still waits. The answer to
    /// an older one says nothing.
    pub fn response(
        &mut self,
        bytes: &[u8],
        from: SocketAddr,
        local: SocketAddr,
    ) -> Result<bool, &'static str> {
        if from != self.pair.to {
            return Err("a response came from elsewhere");
        }
        if bytes.len() < HEADER || bytes[4..8] != COOKIE {
            return Err("no STUN message");
        }
        let known = |pending: &Pending| bytes[8..HEADER] == pending.transaction;
        let Some(place) = self.pending.iter().position(known) else {
            return Ok(false);
        };
        if bytes[..2] != [1, 1] {
            return Err("an error response");
        }
        let mapped = read(bytes, &self.pair.theirs.pwd)?;
        if mapped != Some(local) {
            return Err("not the address that we sent from");
        }
        let nominates = self.pending.remove(place).is_some_and(|p| p.nominates);
        self.phase = match self.phase {
            Phase::Checking => Phase::Valid,
            Phase::Valid if nominates => Phase::Nominated,
            phase => phase,
        };
        Ok(true)
    }
}

/// Walks over a response: the XOR-MAPPED-ADDRESS, if integrity and fingerprint are there and right.
fn read(bytes: &[u8], pwd: &str) -> Result<Option<SocketAddr>, &'static str> {
    let (mut at, mut mapped, mut proved) = (HEADER, None, false);
    while at + 4 <= bytes.len() {
        let kind = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let length = usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
        let value = bytes
            .get(at + 4..at + 4 + length)
            .ok_or("a cut attribute")?;
        match kind {
            0x0020 => mapped = address(value),
            0x0008 => {
                proved = value == code(&bytes[..at], pwd);
                if !proved {
                    return Err("wrong integrity");
                }
            }
            0x8028 if value != fingerprint(&bytes[..at]) => return Err("wrong fingerprint"),
            0x8028 => {
                return if proved {
                    Ok(mapped)
                } else {
                    Err("no integrity")
                };
            }
            _ => {}
        }
        at += 4 + length.div_ceil(4) * 4;
    }
    Err("no fingerprint")
}

fn address(value: &[u8]) -> Option<SocketAddr> {
    let [0, 1, rest @ ..] = value else {
        return None;
    };
    let plain: Vec<u8> = rest
        .iter()
        .zip([
            COOKIE[0], COOKIE[1], COOKIE[0], COOKIE[1], COOKIE[2], COOKIE[3],
        ])
        .map(|(byte, mask)| byte ^ mask)
        .collect();
    let [p, q, a, b, c, d] = plain[..] else {
        return None;
    };
    let ip = IpAddr::V4(Ipv4Addr::new(a, b, c, d));
    Some(SocketAddr::new(ip, u16::from_be_bytes([p, q])))
}

/// Adds an attribute and says so in the header.
fn append(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    bytes.extend(kind.to_be_bytes());
    bytes.extend((value.len() as u16).to_be_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().div_ceil(4) * 4, 0);
    let length = (bytes.len() - HEADER) as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
}

/// The header with the length that it has once an attribute of so many bytes follows.
fn counting(bytes: &[u8], value: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let length = (bytes.len() - HEADER + 4 + value) as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    bytes
}

fn code(bytes: &[u8], pwd: &str) -> Vec<u8> {
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(pwd.as_bytes()) else {
        return Vec::new();
    };
    mac.update(&counting(bytes, 20));
    mac.finalize().into_bytes().to_vec()
}

/// CRC-32 bit by bit, and what RFC 8489 §14.7 adds to it.
fn fingerprint(bytes: &[u8]) -> [u8; 4] {
    let mut sum = u32::MAX;
    for byte in counting(bytes, 4) {
        sum ^= u32::from(byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 {
                sum >> 1 ^ 0xedb8_8320
            } else {
                sum >> 1
            };
        }
    }
    (!sum ^ 0x5354_554e).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks() -> Checks {
        Checks::new(Pair {
            ours: Credentials::random(),
            theirs: Credentials::random(),
            to: "192.0.2.1:4000".parse().unwrap(),
        })
    }

    fn next(checks: &mut Checks) -> Vec<u8> {
        (0..CONSENT).find_map(|_| checks.next()).expect("a check")
    }

    /// The response of RFC 5769 §2.2, and one to a check of ours.
    fn response(check: &[u8], pwd: &str, port: u16) -> Vec<u8> {
        let mut bytes = vec![1, 1, 0, 0];
        bytes.extend(&check[4..HEADER]);
        let [p, q] = (port ^ 0x2112).to_be_bytes();
        append(
            &mut bytes,
            0x0020,
            &[0, 1, p, q, 0x21 ^ 127, 0x12, 0xa4, 0x42 ^ 1],
        );
        let code = code(&bytes, pwd);
        append(&mut bytes, 0x0008, &code);
        let sum = fingerprint(&bytes);
        append(&mut bytes, 0x8028, &sum);
        bytes
    }

    /// What RFC 5769 §2.2 shows is understood.
    #[test]
    fn the_response_of_the_rfc_is_read() {
        let text = "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220\
                    002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7\
                    80280004c07d4c96";
        let bytes: Vec<u8> = (0..text.len() / 2)
            .map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).unwrap())
            .collect();
        let mapped = Some("192.0.2.1:32853".parse().unwrap());
        assert_eq!(read(&bytes, "VOkJxbRl1RmTxUk/WvJxBt"), Ok(mapped));
        assert_eq!(read(&bytes, "another"), Err("wrong integrity"));
    }

    /// A path is nominated once, after a check on it has succeeded; forged and foreign responses change nothing.
    #[test]
    fn a_path_is_checked_then_nominated() {
        let mut checks = checks();
        let (to, local) = (checks.pair.to, "127.0.0.1:5000".parse().unwrap());
        let pwd = checks.pair.theirs.pwd.clone();
        let first = next(&mut checks);
        let good = response(&first, &pwd, 5000);
        for (bad, from) in [
            (response(&first, "forged", 5000), to),
            (response(&first, &pwd, 5001), to),
            (good.clone(), local),
            (good[..40].to_vec(), to),
        ] {
            assert!(checks.response(&bad, from, local).is_err());
        }
        assert_eq!(
            (checks.response(&good, to, local), checks.is_nominated()),
            (Ok(true), false)
        );
        assert_eq!(checks.response(&good, to, local), Ok(false), "twice");
        let second = next(&mut checks);
        let nominates = |check: &[u8]| check.windows(4).any(|four| four == [0, 0x25, 0, 0]);
        assert!(!nominates(&first) && nominates(&second));
        checks
            .response(&response(&second, &pwd, 5000), to, local)
            .unwrap();
        assert!(checks.is_nominated() && !nominates(&next(&mut checks)));
    }
}
