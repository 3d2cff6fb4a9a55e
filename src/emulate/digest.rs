//! Digest authentication of the emulators (RFC 7616, RFC 8760): both asked and asking.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use md5::Digest;

use super::message::{Draft, Message};

/// A user name and its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Shown on the wire.
    pub username: String,
    /// Never shown.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// How many nonces are remembered; the oldest become stale.
const NONCES: usize = 256;

/// Asks for credentials.
pub struct Challenger {
    realm: String,
    sha256: bool,
    nonces: Mutex<VecDeque<String>>,
}

impl Challenger {
    /// Asks in this realm, for MD5 or SHA-256.
    pub fn new(realm: &str, sha256: bool) -> Self {
        Self {
            realm: realm.to_owned(),
            sha256,
            nonces: Mutex::default(),
        }
    }

    /// The 401 to a request.
    pub fn challenge(&self, request: &Message) -> Draft {
        let nonce = format!("{:032x}", rand::random::<u128>());
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        if nonces.len() >= NONCES {
            nonces.pop_front();
        }
        nonces.push_back(nonce.clone());
        let algorithm = if self.sha256 { "SHA-256" } else { "MD5" };
        let mut draft = Draft::response(request, 401, "Unauthorized", "challenge");
        draft.push(
            "WWW-Authenticate",
            format!(
                "Digest realm=\"{}\", nonce=\"{nonce}\", algorithm={algorithm}, qop=\"auth\"",
                self.realm
            ),
        );
        draft
    }

    /// Whose right answer a request carries.
    pub fn check(
        &self,
        request: &Message,
        password: impl Fn(&str) -> Option<String>,
    ) -> Option<String> {
        let fields = request.header("Authorization")?.strip_prefix("Digest ")?;
        let get = |name| field(fields, name);
        let (username, nonce) = (get("username")?, get("nonce")?);
        let known = self
            .nonces
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&nonce);
        let proof = Proof {
            sha256: self.sha256,
            username: &username,
            realm: &self.realm,
            password: &password(&username)?,
            method: request.method(),
            uri: &get("uri")?,
            nonce: &nonce,
            counted: Some((get("nc")?, get("cnonce")?)),
        };
        (known && get("response")? == proof.response()).then_some(username)
    }
}

/// The header, name and value, that answers the challenge of a 401 or 407; nothing if it asks for what we do not know.
pub fn answer(
    challenge: &Message,
    credentials: &Credentials,
    method: &str,
    uri: &str,
) -> Option<(&'static str, String)> {
    let (asked, name) = match challenge.status()? {
        401 => ("WWW-Authenticate", "Authorization"),
        407 => ("Proxy-Authenticate", "Proxy-Authorization"),
        _ => return None,
    };
    // Of several challenges the first that we know is the one the server likes best (RFC 8760 §2.4).
    challenge.all(asked).find_map(|value| {
        let fields = value.strip_prefix("Digest ")?;
        let algorithm = field(fields, "algorithm").unwrap_or_else(|| "MD5".to_owned());
        let sha256 = match algorithm.as_str() {
            "MD5" => false,
            "SHA-256" => true,
            _ => return None,
        };
        let (realm, nonce) = (field(fields, "realm")?, field(fields, "nonce")?);
        let quality = field(fields, "qop").is_some_and(|q| q.split(',').any(|q| q.trim() == "auth"));
        let counted = quality.then(|| ("00000001".to_owned(), format!("{:016x}", rand::random::<u64>())));
        let Credentials { username, password } = credentials;
        let proof = Proof { sha256, username, realm: &realm, password, method, uri, nonce: &nonce, counted: counted.clone() };
        let mut text = format!("Digest username=\"{username}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{}\", algorithm={algorithm}", proof.response());
        if let Some((nc, cnonce)) = counted {
            text += &format!(", qop=auth, nc={nc}, cnonce=\"{cnonce}\"");
        }
        if let Some(opaque) = field(fields, "opaque") {
            text += &format!(", opaque=\"{opaque}\"");
        }
        Some((name, text))
    })
}

/// RFC 7616 §3.4.1.
struct Proof<'a> {
    sha256: bool,
    username: &'a str,
    realm: &'a str,
    password: &'a str,
    method: &'a str,
    uri: &'a str,
    nonce: &'a str,
    /// nc and cnonce, with qop=auth.
    counted: Option<(String, String)>,
}

impl Proof<'_> {
    fn response(&self) -> String {
        let secret = self.hash(&format!(
            "{}:{}:{}",
            self.username, self.realm, self.password
        ));
        let what = self.hash(&format!("{}:{}", self.method, self.uri));
        match &self.counted {
            Some((nc, cnonce)) => self.hash(&format!(
                "{secret}:{}:{nc}:{cnonce}:auth:{what}",
                self.nonce
            )),
            None => self.hash(&format!("{secret}:{}:{what}", self.nonce)),
        }
    }

    fn hash(&self, text: &str) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect();
        if self.sha256 {
            hex(&sha2::Sha256::digest(text))
        } else {
            hex(&md5::Md5::digest(text))
        }
    }
}

/// One field of a challenge or of credentials, without its quotes.
fn field(fields: &str, name: &str) -> Option<String> {
    let mut rest = fields.trim_start();
    while let Some((key, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(value.trim().to_owned());
        }
        rest = next.trim_start_matches([',', ' ', '\t']);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7616 §3.9.1: both algorithms of its example.
    #[test]
    fn the_example_of_the_rfc_comes_out() {
        let proof = |sha256| Proof {
            sha256,
            username: "Mufasa",
            realm: "http-auth@example.org",
            password: "Circle of Life",
            method: "GET",
            uri: "/dir/index.html",
            nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            counted: Some((
                "00000001".into(),
                "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ".into(),
            )),
        };
        assert_eq!(proof(false).response(), "8ca523f5e9506fed4657c9700eebdbec");
        assert_eq!(
            proof(true).response(),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
    }

    /// Who knows the password passes with either algorithm; who does not, or answers a foreign nonce, does not.
    #[test]
    fn asking_and_answering_fit() {
        let request = "REGISTER sip:pbx SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:u@pbx>;tag=1\r\nTo: <sip:u@pbx>\r\nCall-ID: x\r\nCSeq: 1 REGISTER\r\n";
        let parse = |extra: &str| {
            Message::parse(format!("{request}{extra}\r\n").as_bytes(), false).unwrap()
        };
        for sha256 in [false, true] {
            let challenger = Challenger::new("pbx", sha256);
            let challenge =
                Message::parse(&challenger.challenge(&parse("")).print(None, false), false)
                    .unwrap();
            let passes = |challenger: &Challenger, password: &str| {
                let credentials = Credentials {
                    username: "u".into(),
                    password: password.into(),
                };
                let (name, value) =
                    answer(&challenge, &credentials, "REGISTER", "sip:pbx").unwrap();
                challenger.check(&parse(&format!("{name}: {value}\r\n")), |_| {
                    Some("secret".into())
                })
            };
            assert_eq!(passes(&challenger, "secret"), Some("u".into()));
            assert_eq!(passes(&challenger, "guess"), None);
            assert_eq!(passes(&Challenger::new("pbx", sha256), "secret"), None);
        }
    }
}
