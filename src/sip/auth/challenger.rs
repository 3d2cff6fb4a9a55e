use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::digest::{Algorithm, Protection, Response};
use super::fields::{Fields, escaped, unescaped};
use crate::base::Random;
use crate::sip::{Message, Name};

/// How long a nonce may be used.
const LIFETIME: Duration = Duration::from_secs(300);
/// How many nonces in use are remembered; beyond that the oldest are declared stale.
const MAX_NONCES: usize = 20_000;

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthFailure {
    /// It carries no credentials for our realm: challenge it.
    #[error("no credentials for our realm")]
    Missing,
    /// Its credentials lack something: challenge it, or answer 400.
    #[error("the credentials are malformed")]
    Malformed,
    /// The password is right, but the nonce is too old, used before or not ours: challenge it, saying so.
    #[error("the nonce is stale")]
    Stale,
    /// Nobody is known by this name, or the password is another.
    #[error("unknown user or wrong password")]
    Wrong,
}

/// Demands digest credentials and checks them, as a user agent server (RFC 3261 §22.2).
///
/// A nonce is the time of its making and a random number under a keyed MAC, so that none is stored until somebody has
/// used it with the right password: a stranger cannot fill the table.
pub struct Challenger {
    realm: String,
    algorithms: Vec<Algorithm>,
    key: [u8; 32],
    random: Random,
    epoch: Instant,
    used: HashMap<u64, Counts>,
    order: VecDeque<Nonce>,
    /// Nonces made at or before this many seconds are stale unless remembered.
    forgotten: Option<u32>,
}

impl fmt::Debug for Challenger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenger")
            .field("realm", &self.realm)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy)]
struct Nonce {
    /// Seconds since the epoch.
    made: u32,
    serial: u64,
}

/// Which nonce counts were seen: the highest, and of the 64 up to it a bit each. An old one is taken once, for requests
/// overtake each other; what is older still is refused.
#[derive(Debug, Default)]
struct Counts {
    highest: u32,
    seen: u64,
}

impl Challenger {
    /// Offers these algorithms in this order, which is the order of our preference (RFC 8760 §2.3).
    pub fn new(realm: &str, algorithms: &[Algorithm], random: &mut Random, now: Instant) -> Self {
        Self {
            realm: realm.to_owned(),
            algorithms: algorithms.to_vec(),
            key: random.bytes(),
            random: random.split(),
            epoch: now,
            used: HashMap::new(),
            order: VecDeque::new(),
            forgotten: None,
        }
    }

    /// The values of WWW-Authenticate headers, one for each algorithm, answering a request that failed like this.
    pub fn challenge(&mut self, failure: AuthFailure, now: Instant) -> Vec<String> {
        let all = self.algorithms.clone();
        self.challenge_in(&all, failure, now)
    }

    /// The same for peers that give up on a challenge which they do not understand: in these algorithms only.
    pub fn challenge_in(
        &mut self,
        algorithms: &[Algorithm],
        failure: AuthFailure,
        now: Instant,
    ) -> Vec<String> {
        let (made, serial) = (self.seconds(now), self.random.u64());
        let nonce = self.print(Nonce { made, serial });
        let (realm, stale) = (
            escaped(&self.realm),
            if failure == AuthFailure::Stale {
                ", stale=true"
            } else {
                ""
            },
        );
        let value = |algorithm: &Algorithm| {
            let algorithm = algorithm.name();
            format!(
                r#"Digest realm="{realm}", nonce="{nonce}", algorithm={algorithm}, qop="auth"{stale}"#
            )
        };
        algorithms.iter().map(value).collect()
    }

    /// The user that a request's Authorization proves to come from. `password` knows each user's.
    ///
    /// The digest is computed over the URI in the credentials, which proxies on the way may have found differently in
    /// the Request-URI.
    ///
    /// # Errors
    /// What to challenge it for.
    pub fn check(
        &mut self,
        request: &Message,
        password: impl FnOnce(&str) -> Option<String>,
        now: Instant,
    ) -> Result<String, AuthFailure> {
        self.check_in(Name::Authorization, request, password, now)
    }

    /// The same of credentials in another header, as those are that a proxy asks for (RFC 3261 §22.3).
    ///
    /// # Errors
    /// What to challenge it for.
    pub fn check_in(
        &mut self,
        header: Name,
        request: &Message,
        password: impl FnOnce(&str) -> Option<String>,
        now: Instant,
    ) -> Result<String, AuthFailure> {
        let lines = request.headers(header).filter_map(|line| line.text());
        let fields = lines
            .flat_map(Fields::all)
            .find(|fields| fields.is_digest() && self.is_ours(fields));
        let fields = fields.ok_or(AuthFailure::Missing)?;
        let field = |name| fields.get(name).ok_or(AuthFailure::Malformed);
        let algorithm = Algorithm::named(fields.get("algorithm").unwrap_or("MD5"))
            .ok_or(AuthFailure::Malformed)?;
        let body = request.body();
        let (protection, count) = match fields.get("qop") {
            None => (Protection::None, 1),
            Some(qop) => {
                let count = field("nc")?;
                let number = u32::from_str_radix(count, 16).map_err(|_| AuthFailure::Malformed)?;
                let whole = qop.eq_ignore_ascii_case("auth-int");
                (
                    if whole {
                        Protection::AuthInt { count, body: &body }
                    } else {
                        Protection::Auth { count }
                    },
                    number,
                )
            }
        };
        let username = field("username")?;
        let name = unescaped(username);
        let (nonce, given) = (field("nonce")?, field("response")?.to_ascii_lowercase());
        let known = password(&name).filter(|_| self.algorithms.contains(&algorithm));
        let expected = Response {
            algorithm,
            // As written: RFC 7616 hashes what stands between the quotes.
            username,
            realm: field("realm")?,
            // A name that nobody has takes as long to refuse as a wrong password.
            password: known.as_deref().unwrap_or_default(),
            method: request.method_text(),
            uri: field("uri")?,
            nonce,
            cnonce: fields.get("cnonce").unwrap_or_default(),
            protection,
        };
        let equal = bool::from(expected.digest().as_bytes().ct_eq(given.as_bytes()));
        if !equal || known.is_none() {
            return Err(AuthFailure::Wrong);
        }
        let nonce = self.read(nonce).ok_or(AuthFailure::Stale)?;
        self.spend(nonce, count, now)?;
        Ok(name.into_owned())
    }

    fn is_ours(&self, fields: &Fields<'_>) -> bool {
        fields
            .get("realm")
            .is_some_and(|realm| unescaped(realm) == self.realm)
    }

    /// Each count of a nonce is taken once.
    fn spend(&mut self, nonce: Nonce, count: u32, now: Instant) -> Result<(), AuthFailure> {
        let oldest = self.seconds(now).saturating_sub(LIFETIME.as_secs() as u32);
        while let Some(first) = self.order.front().copied() {
            if first.made >= oldest && self.order.len() < MAX_NONCES {
                break;
            }
            self.order.pop_front();
            self.used.remove(&first.serial);
            self.forgotten = self.forgotten.max(Some(first.made));
        }
        if nonce.made < oldest {
            return Err(AuthFailure::Stale);
        }
        if !self.used.contains_key(&nonce.serial) {
            if self
                .forgotten
                .is_some_and(|forgotten| nonce.made <= forgotten)
            {
                return Err(AuthFailure::Stale);
            }
            self.order.push_back(nonce);
        }
        let fresh = self.used.entry(nonce.serial).or_default().spend(count);
        if fresh {
            Ok(())
        } else {
            Err(AuthFailure::Stale)
        }
    }

    fn seconds(&self, now: Instant) -> u32 {
        u32::try_from(now.saturating_duration_since(self.epoch).as_secs()).unwrap_or(u32::MAX)
    }

    fn print(&self, nonce: Nonce) -> String {
        let text = [&nonce.made.to_be_bytes()[..], &nonce.serial.to_be_bytes()].concat();
        URL_SAFE_NO_PAD.encode([&text[..], &self.mac(&text)].concat())
    }

    fn read(&self, nonce: &str) -> Option<Nonce> {
        let bytes = URL_SAFE_NO_PAD.decode(nonce).ok()?;
        let (text, mac) = bytes.split_at_checked(12)?;
        bool::from(self.mac(text).ct_eq(mac)).then_some(())?;
        let (made, serial) = text.split_at(4);
        Some(Nonce {
            made: u32::from_be_bytes(made.try_into().ok()?),
            serial: u64::from_be_bytes(serial.try_into().ok()?),
        })
    }

    fn mac(&self, text: &[u8]) -> [u8; 16] {
        let mac =
            Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of every length");
        let whole: [u8; 32] = mac.chain_update(text).finalize().into_bytes().into();
        let mut half = [0; 16];
        half.copy_from_slice(&whole[..16]);
        half
    }
}

impl Counts {
    fn spend(&mut self, count: u32) -> bool {
        if count > self.highest {
            let step = count - self.highest;
            self.seen = self.seen.checked_shl(step).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let bit = 1u64.checked_shl(self.highest - count).unwrap_or(0);
        let fresh = count > 0 && bit != 0 && self.seen & bit == 0;
        self.seen |= bit;
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Challenge, Credentials};
    use super::*;
    use crate::sip::Method;
    use bytes::Bytes;

    fn message(first_line: &str, header: &str) -> Message {
        let text = format!(
            "{first_line}\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:b>\r\nCall-ID: c\r\n\
             CSeq: 1 REGISTER\r\n{header}\r\nContent-Length: 0\r\n\r\n"
        );
        Message::parse_datagram(Bytes::from(text)).unwrap()
    }

    fn register(authorization: &str) -> Message {
        message(
            "REGISTER sip:pbx.example SIP/2.0",
            &format!("Authorization: {authorization}"),
        )
    }

    struct Scene {
        challenger: Challenger,
        random: Random,
        now: Instant,
    }

    impl Scene {
        fn new(algorithm: Algorithm) -> Self {
            let (mut random, now) = (Random::from_number(9), Instant::now());
            Self {
                challenger: Challenger::new("pbx \"1\"", &[algorithm], &mut random, now),
                random,
                now,
            }
        }

        fn challenge(&mut self, failure: AuthFailure) -> Challenge {
            let values = self.challenger.challenge(failure, self.now);
            let header = format!("WWW-Authenticate: {}", values[0]);
            Challenge::choose(&message("SIP/2.0 401 Unauthorized", &header)).unwrap()
        }

        fn answer(&mut self, challenge: &mut Challenge, password: &str) -> Message {
            let credentials = Credentials {
                username: "10\"01".to_owned(),
                password: password.to_owned(),
            };
            register(&challenge.answer(
                &credentials,
                Method::Register,
                "sip:pbx.example",
                b"",
                &mut self.random,
            ))
        }

        fn check(&mut self, request: &Message) -> Result<String, AuthFailure> {
            let password = |user: &str| (user == "10\"01").then(|| "secret".to_owned());
            self.challenger.check(request, password, self.now)
        }
    }

    /// Our own answer to our own challenge, whatever the hash and however the names are quoted.
    #[test]
    fn the_right_password_is_let_in() {
        for algorithm in [Algorithm::MD5, Algorithm::SHA256, Algorithm::SHA512_256] {
            let mut scene = Scene::new(algorithm);
            let mut challenge = scene.challenge(AuthFailure::Missing);
            let request = scene.answer(&mut challenge, "secret");
            assert_eq!(scene.check(&request), Ok("10\"01".to_owned()));
        }
    }

    /// A wrong password, an unknown user, another realm and no credentials are refused, each for its reason.
    #[test]
    fn others_are_refused() {
        let mut scene = Scene::new(Algorithm::MD5);
        let mut challenge = scene.challenge(AuthFailure::Missing);
        let wrong = scene.answer(&mut challenge, "guess");
        assert_eq!(scene.check(&wrong), Err(AuthFailure::Wrong));
        let request = scene.answer(&mut challenge, "");
        assert_eq!(
            scene.challenger.check(&request, |_| None, scene.now),
            Err(AuthFailure::Wrong)
        );
        assert_eq!(
            scene.check(&register("Digest realm=\"other\"")),
            Err(AuthFailure::Missing)
        );
        assert_eq!(
            scene.check(&register("Basic abc=")),
            Err(AuthFailure::Missing)
        );
        assert_eq!(
            scene.check(&register(r#"Digest realm="pbx \"1\"", nonce="x""#)),
            Err(AuthFailure::Malformed)
        );
    }

    /// The same count is taken once; a later one first, then the one it overtook.
    #[test]
    fn a_replay_is_stale() {
        let mut scene = Scene::new(Algorithm::MD5);
        let mut challenge = scene.challenge(AuthFailure::Missing);
        let [first, second] = [(); 2].map(|()| scene.answer(&mut challenge, "secret"));
        assert!(scene.check(&second).is_ok());
        assert!(scene.check(&first).is_ok());
        assert_eq!(scene.check(&first), Err(AuthFailure::Stale));
        assert_eq!(scene.check(&second), Err(AuthFailure::Stale));
        assert!(
            scene
                .challenge(AuthFailure::Stale)
                .is_worth_answering(Some(&challenge))
        );
    }

    /// A nonce lives for five minutes.
    #[test]
    fn an_old_nonce_is_stale() {
        let mut scene = Scene::new(Algorithm::MD5);
        let mut challenge = scene.challenge(AuthFailure::Missing);
        scene.now += LIFETIME;
        let request = scene.answer(&mut challenge, "secret");
        assert!(scene.check(&request).is_ok());
        scene.now += Duration::from_secs(1);
        let request = scene.answer(&mut challenge, "secret");
        assert_eq!(scene.check(&request), Err(AuthFailure::Stale));
    }

    /// A nonce that we never made is stale at best, even with the right password.
    #[test]
    fn an_invented_nonce_is_stale() {
        let mut theirs = Scene::new(Algorithm::MD5);
        let mut ours = Scene::new(Algorithm::MD5);
        ours.challenger.key = [1; 32];
        let mut challenge = theirs.challenge(AuthFailure::Missing);
        let request = theirs.answer(&mut challenge, "secret");
        assert_eq!(ours.check(&request), Err(AuthFailure::Stale));
        for nonce in ["", "A", "ä", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert!(ours.challenger.read(nonce).is_none());
        }
    }

    /// The table of used nonces stays within its limit, and what was forgotten cannot be replayed.
    #[test]
    fn memory_is_bounded() {
        let mut scene = Scene::new(Algorithm::MD5);
        let nonce = |serial| Nonce { made: 0, serial };
        for serial in 0..MAX_NONCES as u64 {
            assert!(scene.challenger.spend(nonce(serial), 1, scene.now).is_ok());
        }
        assert_eq!(
            scene.challenger.spend(nonce(u64::MAX), 1, scene.now),
            Err(AuthFailure::Stale)
        );
        assert_eq!(
            scene.challenger.spend(nonce(0), 1, scene.now),
            Err(AuthFailure::Stale)
        );
        assert!(
            scene.challenger.used.len() <= MAX_NONCES && scene.challenger.order.len() <= MAX_NONCES
        );
        scene.now += Duration::from_secs(1);
        assert!(
            scene
                .challenger
                .spend(
                    Nonce {
                        made: 1,
                        serial: 1 << 40
                    },
                    1,
                    scene.now
                )
                .is_ok()
        );
    }

    /// Counts far apart do not shift the window beyond its width.
    #[test]
    fn the_window_is_64_wide() {
        let mut counts = Counts::default();
        assert!(counts.spend(1) && counts.spend(u32::MAX) && counts.spend(u32::MAX - 63));
        assert!(!counts.spend(u32::MAX - 64) && !counts.spend(u32::MAX - 63) && !counts.spend(0));
    }
}
