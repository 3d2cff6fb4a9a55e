use std::fmt;

use super::digest::{Algorithm, Protection, Response};
use super::fields::{Fields, escaped};
use crate::base::Random;
use crate::sip::{Message, Method, Name};

/// Who we are to a peer that demands it.
#[derive(Clone)]
pub struct Credentials {
    /// As the peer knows us.
    pub username: String,
    /// Never shown.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// What a 401 or 407 demands of us; kept, it answers for later requests to the same realm too, each counted.
#[derive(Debug, Clone)]
pub struct Challenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    /// As the peer wrote it, for it may compare by case.
    algorithm_text: Option<String>,
    qop: Option<Qop>,
    stale: bool,
    proxy: bool,
    count: u32,
}

/// Realms that one request is answered for.
pub const MAX_REALMS: usize = 4;

#[derive(Debug, Clone, Copy)]
enum Qop {
    Auth,
    AuthInt,
}

impl Challenge {
    /// The first of [`Challenge::all`].
    pub fn choose(response: &Message) -> Option<Self> {
        Self::all(response).into_iter().next()
    }

    /// What a 401 or 407 demands, realm by realm: a request that passed several proxies is answered for each of them and
    /// for its target (RFC 3261 §22.3). Of several challenges of one realm the topmost that we can answer counts (RFC 8760
    /// §2.4): those of unknown schemes and algorithms, and those without a realm or a nonce, are passed over, and so are
    /// more than [`MAX_REALMS`].
    pub fn all(response: &Message) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        for proxy in [response.status() == 407, response.status() != 407] {
            let name = if proxy {
                Name::ProxyAuthenticate
            } else {
                Name::WwwAuthenticate
            };
            let texts = response.headers(name).filter_map(|line| line.text());
            for fields in texts.flat_map(Fields::all) {
                let Some(challenge) = Self::read(&fields, proxy) else {
                    continue;
                };
                if found.len() < MAX_REALMS && !found.iter().any(|c| c.is_for_same(&challenge)) {
                    found.push(challenge);
                }
            }
            // A status demands what its own header says; the other one only adds to that.
            if found.is_empty() {
                break;
            }
        }
        found
    }

    /// Whether the same party asks for the same realm's password.
    pub fn is_for_same(&self, other: &Self) -> bool {
        self.proxy == other.proxy && self.realm == other.realm
    }

    /// The header that carries the answer.
    pub fn header(&self) -> Name {
        if self.proxy {
            Name::ProxyAuthorization
        } else {
            Name::Authorization
        }
    }

    /// What the password is asked for.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// Whether it is worth answering: a realm that has refused the same password with `refused` is answered again only
    /// when it says that merely the nonce was too old. Else two machines would ask and answer for ever.
    pub fn is_worth_answering(&self, refused: Option<&Self>) -> bool {
        refused.is_none_or(|refused| self.stale || refused.realm != self.realm)
    }

    /// Goes on with the nonce that a response of the same party names for the next request (RFC 7616 §3.5), if it does.
    pub fn renew(&mut self, response: &Message) {
        // Authentication-Info has its parameters without a scheme before them.
        let name = if self.proxy {
            Name::Extension("Proxy-Authentication-Info")
        } else {
            Name::AuthenticationInfo
        };
        let next = response.headers(name).find_map(|line| {
            let line = format!("Digest {}", line.text()?);
            let fields = Fields::all(&line);
            let next = fields.first()?.get("nextnonce")?;
            (!next.is_empty()).then(|| next.to_owned())
        });
        if let Some(next) = next {
            (self.nonce, self.count) = (next, 0);
        }
    }

    /// The value for [`Challenge::header`] of a request with this Request-URI and body. Counts up at each call
    /// (RFC 7616 §3.4).
    pub fn answer(
        &mut self,
        credentials: &Credentials,
        method: Method,
        uri: &str,
        body: &[u8],
        random: &mut Random,
    ) -> String {
        self.count = self.count.saturating_add(1);
        let (count, cnonce, method) = (
            format!("{:08x}", self.count),
            random.token(20),
            method.to_string(),
        );
        let protection = match self.qop {
            None => Protection::None,
            Some(Qop::Auth) => Protection::Auth { count: &count },
            Some(Qop::AuthInt) => Protection::AuthInt {
                count: &count,
                body,
            },
        };
        // RFC 7616 hashes what stands between the quotes.
        let username = escaped(&credentials.username);
        let response = Response {
            algorithm: self.algorithm,
            username: &username,
            realm: &self.realm,
            password: &credentials.password,
            method: &method,
            uri,
            nonce: &self.nonce,
            cnonce: &cnonce,
            protection,
        };
        let mut value = format!(
            r#"Digest username="{}", realm="{}", nonce="{}", uri="{uri}", response="{}""#,
            username,
            self.realm,
            self.nonce,
            response.digest(),
        );
        if let Some(algorithm) = &self.algorithm_text {
            value += &format!(", algorithm={algorithm}");
        }
        match self.qop {
            Some(Qop::Auth) => value += &format!(r#", cnonce="{cnonce}", qop=auth, nc={count}"#),
            Some(Qop::AuthInt) => {
                value += &format!(r#", cnonce="{cnonce}", qop=auth-int, nc={count}"#)
            }
            // The session variants hash the cnonce without any qop.
            None if self.algorithm.is_session() => value += &format!(r#", cnonce="{cnonce}""#),
            None => {}
        }
        if let Some(opaque) = &self.opaque {
            value += &format!(r#", opaque="{opaque}""#);
        }
        value
    }

    fn read(fields: &Fields<'_>, proxy: bool) -> Option<Self> {
        let algorithm_text = fields.get("algorithm");
        let qop = match fields.get("qop") {
            None | Some("") => None,
            Some(offered) => {
                let offers = |name: &str| {
                    offered
                        .split(',')
                        .any(|offer| offer.trim().eq_ignore_ascii_case(name))
                };
                // Neither means a protection that we do not know, and cannot give.
                Some(if offers("auth") {
                    Qop::Auth
                } else {
                    offers("auth-int").then_some(Qop::AuthInt)?
                })
            }
        };
        fields.is_digest().then_some(())?;
        Some(Self {
            realm: fields.get("realm")?.to_owned(),
            nonce: fields.get("nonce")?.to_owned(),
            opaque: fields.get("opaque").map(str::to_owned),
            algorithm: Algorithm::named(algorithm_text.unwrap_or("MD5"))?,
            algorithm_text: algorithm_text.map(str::to_owned),
            qop,
            stale: fields
                .get("stale")
                .is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
            proxy,
            count: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn challenged(status: u16, headers: &str) -> Option<Challenge> {
        let text = format!(
            "SIP/2.0 {status} No\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:b>;tag=2\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\n{headers}\r\nContent-Length: 0\r\n\r\n"
        );
        Challenge::choose(&Message::parse_datagram(Bytes::from(text)).unwrap())
    }

    fn answer(challenge: &mut Challenge) -> String {
        let credentials = Credentials {
            username: "1001".to_owned(),
            password: "secret".to_owned(),
        };
        let mut random = Random::from_number(1);
        challenge.answer(
            &credentials,
            Method::Invite,
            "sip:b",
            b"v=0\r\n",
            &mut random,
        )
    }

    /// RFC 3261 §22.3: one answer for each realm, the target's and its proxies', the status' own header first.
    #[test]
    fn each_realm_is_answered_once() {
        let headers = "WWW-Authenticate: Digest realm=\"a\", nonce=\"1\"\r\n\
            Proxy-Authenticate: Digest realm=\"a\", nonce=\"2\", algorithm=MD5-unknown\r\n\
            Proxy-Authenticate: Digest realm=\"a\", nonce=\"3\"\r\n\
            Proxy-Authenticate: Digest realm=\"a\", nonce=\"4\"\r\n\
            Proxy-Authenticate: Digest realm=\"b\", nonce=\"5\", qop=\"auth-int\"";
        let text = format!(
            "SIP/2.0 407 No\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:b>;tag=2\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\n{headers}\r\nContent-Length: 0\r\n\r\n"
        );
        let all = Challenge::all(&Message::parse_datagram(Bytes::from(text)).unwrap());
        let nonces: Vec<_> = all.iter().map(|c| (c.nonce.as_str(), c.proxy)).collect();
        assert_eq!(nonces, [("3", true), ("5", true), ("1", false)]);
    }

    /// The topmost that we know is taken, whether in one line or two, quoted or not.
    #[test]
    fn the_topmost_known_is_chosen() {
        let both =
            r#"WWW-Authenticate: Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth""#;
        let md5 = r#"WWW-Authenticate: Digest realm="r", nonce="n", algorithm="MD5""#;
        let chosen = |headers: &str| challenged(401, headers).map(|challenge| challenge.algorithm);
        assert_eq!(chosen(&format!("{both}\r\n{md5}")), Some(Algorithm::SHA256));
        assert_eq!(chosen(&format!("{md5}\r\n{both}")), Some(Algorithm::MD5));
        let unknown = both.replace("SHA-256", "SHA3-256");
        assert_eq!(chosen(&format!("{unknown}\r\n{md5}")), Some(Algorithm::MD5));
        assert_eq!(
            chosen(&format!("{unknown}, Digest realm=\"r\", nonce=\"m\"")),
            Some(Algorithm::MD5)
        );
    }

    /// Without a realm, a nonce or a known protection there is nothing to answer; an empty realm is one.
    #[test]
    fn what_cannot_be_answered_is_ignored() {
        for value in [
            r#"Digest nonce="n""#,
            r#"Digest realm="r""#,
            r#"Basic realm="r""#,
            r#"Digest realm="r",nonce="n",qop="x""#,
        ] {
            assert!(
                challenged(401, &format!("WWW-Authenticate: {value}")).is_none(),
                "{value}"
            );
        }
        assert!(challenged(401, r#"WWW-Authenticate: Digest realm="", nonce="n""#).is_some());
        assert!(challenged(407, r#"WWW-Authenticate: Digest realm="r", nonce="n""#).is_none());
    }

    /// The answer of a 407 goes into Proxy-Authorization, and each one is counted and differs.
    #[test]
    fn answers_are_counted() {
        let header =
            r#"Proxy-Authenticate: Digest realm="r", nonce="n", opaque="o", qop="auth-int,auth""#;
        let mut challenge = challenged(407, header).unwrap();
        assert_eq!(challenge.header(), Name::ProxyAuthorization);
        let (first, second) = (answer(&mut challenge), answer(&mut challenge));
        assert!(
            first.contains("qop=auth, nc=00000001") && second.contains("qop=auth, nc=00000002"),
            "{first}"
        );
        assert!(first.starts_with(
            r#"Digest username="1001", realm="r", nonce="n", uri="sip:b", response=""#
        ));
        assert!(
            first.ends_with(r#", opaque="o""#) && !first.contains("algorithm"),
            "{first}"
        );
        assert!(!first.contains("secret"));
    }

    /// RFC 2069 style: no count, no cnonce.
    #[test]
    fn without_qop_nothing_is_counted() {
        let mut challenge = challenged(
            401,
            r#"WWW-Authenticate: Digest realm="r", nonce="n", algorithm=md5"#,
        )
        .unwrap();
        let answer = answer(&mut challenge);
        assert!(
            !answer.contains("nc=") && answer.ends_with("algorithm=md5"),
            "{answer}"
        );
    }

    /// The same realm is answered twice only when the nonce was stale.
    #[test]
    fn a_wrong_password_does_not_loop() {
        let challenge = |stale: &str| {
            challenged(
                401,
                &format!("WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"{stale}"),
            )
            .unwrap()
        };
        let first = challenge("");
        assert!(first.is_worth_answering(None));
        assert!(!challenge("").is_worth_answering(Some(&first)));
        assert!(challenge(", stale=TRUE").is_worth_answering(Some(&first)));
        let other = challenged(401, r#"WWW-Authenticate: Digest realm="s", nonce="n""#).unwrap();
        assert!(other.is_worth_answering(Some(&first)));
    }

    /// A password never shows in `Debug` output.
    #[test]
    fn passwords_stay_hidden() {
        let credentials = Credentials {
            username: "u".to_owned(),
            password: "secret".to_owned(),
        };
        assert!(!format!("{credentials:?}").contains("secret"));
    }
}
