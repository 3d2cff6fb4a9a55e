//! The client's side of digest for one peer: which challenges to answer, and by what.

use super::challenge::{Challenge, Credentials, MAX_REALMS};
use crate::base::Random;
use crate::sip::{Builder, Message, Method};

/// How often one request is sent again with credentials: once, once more for a stale nonce, and as often for a proxy.
const MOST_TRIES: u8 = 4;

/// What one peer has asked for, one challenge for each of its realms. Later requests answer them unasked.
#[derive(Debug, Clone, Default)]
pub struct Prover {
    challenges: Vec<Challenge>,
    /// How often the present request was sent with credentials.
    tried: u8,
}

/// Why a challenge is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unanswerable {
    /// Another scheme than Digest, or an algorithm or protection that we do not know.
    #[error("it asks for credentials in a way that we do not know")]
    Unknown,
    /// What was just answered is asked for again, and not because of a stale nonce.
    #[error("it refuses our user name or password")]
    Refused,
    /// It asks again and again.
    #[error("it asks for credentials without end")]
    Endless,
}

impl Prover {
    /// Takes a 401 or 407, whose request is to be sent again.
    ///
    /// # Errors
    /// Why sending it again would be of no use.
    pub fn take(&mut self, response: &Message) -> Result<(), Unanswerable> {
        if self.tried >= MOST_TRIES {
            return Err(Unanswerable::Endless);
        }
        let asked = Challenge::all(response);
        if asked.is_empty() {
            return Err(Unanswerable::Unknown);
        }
        let is_refused = |challenge: &Challenge| {
            let answered = self.challenges.iter().find(|c| c.is_for_same(challenge));
            !challenge.is_worth_answering(answered.filter(|_| self.tried > 0))
        };
        if asked.iter().any(is_refused) {
            return Err(Unanswerable::Refused);
        }
        self.tried += 1;
        self.challenges
            .retain(|known| !asked.iter().any(|new| new.is_for_same(known)));
        self.challenges.extend(asked);
        self.challenges.truncate(MAX_REALMS);
        Ok(())
    }

    /// The present request has its answer: the next one may be asked for credentials again.
    pub fn settle(&mut self) {
        self.tried = 0;
    }

    /// Takes the nonce that the next request is to use, if a response names one (RFC 7615 §3, RFC 7616 §3.5): without it
    /// that request would be asked again.
    pub fn renew(&mut self, response: &Message) {
        for challenge in &mut self.challenges {
            challenge.renew(response);
        }
    }

    /// Forgets what was asked for.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Writes the answers into a request whose body stands already (RFC 7616 §3.4).
    pub fn write(
        &mut self,
        credentials: &Credentials,
        method: Method,
        draft: &mut Builder,
        random: &mut Random,
    ) {
        if self.challenges.is_empty() {
            return;
        }
        let (uri, body) = (draft.uri().to_owned(), draft.body_bytes().to_owned());
        for challenge in &mut self.challenges {
            let value = challenge.answer(credentials, method, &uri, &body, random);
            draft.header(challenge.header(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Name;
    use bytes::Bytes;

    fn response(status: u16, headers: &str) -> Message {
        let text = format!(
            "SIP/2.0 {status} X\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:b>;tag=2\r\n\
             Call-ID: c\r\nCSeq: 1 REGISTER\r\n{headers}Content-Length: 0\r\n\r\n"
        );
        Message::parse_datagram(Bytes::from(text)).unwrap()
    }

    fn asks(nonce: &str, more: &str) -> Message {
        let header = format!(
            "WWW-Authenticate: Digest realm=\"r\", nonce=\"{nonce}\", qop=\"auth\"{more}\r\n"
        );
        response(401, &header)
    }

    fn written(prover: &mut Prover) -> String {
        let credentials = Credentials {
            username: "1001".into(),
            password: "s3same".into(),
        };
        let mut draft = Builder::request(Method::Register, "sip:b");
        let mut random = Random::from_number(1);
        prover.write(&credentials, Method::Register, &mut draft, &mut random);
        let value = draft.value(Name::Authorization).unwrap_or_default();
        String::from_utf8_lossy(value).into_owned()
    }

    /// The same realm is answered once; again only where it says that the nonce was too old, or for another request.
    #[test]
    fn a_refused_password_is_not_tried_again() {
        let mut prover = Prover::default();
        assert_eq!(written(&mut prover), "", "nobody has asked");
        prover.take(&asks("1", "")).unwrap();
        assert!(written(&mut prover).contains("nonce=\"1\""));
        prover.take(&asks("2", ", stale=true")).unwrap();
        assert!(written(&mut prover).contains("nc=00000001"));
        assert_eq!(prover.take(&asks("3", "")), Err(Unanswerable::Refused));
        prover.settle();
        prover.take(&asks("4", "")).unwrap();
    }

    /// A peer that finds every nonce stale is not answered for ever.
    #[test]
    fn a_peer_that_asks_without_end_is_left() {
        let mut prover = Prover::default();
        for nonce in 0..MOST_TRIES {
            let asked = asks(&nonce.to_string(), ", stale=true");
            prover.take(&asked).unwrap();
        }
        let more = prover.take(&asks("9", ", stale=true"));
        assert_eq!(more, Err(Unanswerable::Endless));
    }

    /// What we cannot answer is told apart from what was refused.
    #[test]
    fn unknown_ways_are_named() {
        let mut prover = Prover::default();
        for header in [
            "",
            "WWW-Authenticate: Bearer realm=\"r\"\r\n",
            "WWW-Authenticate: Digest realm=\"r\", nonce=\"1\", algorithm=SHA3\r\n",
            "WWW-Authenticate: Digest realm=\"r\", nonce=\"1\", qop=\"new\"\r\n",
        ] {
            let taken = prover.take(&response(401, header));
            assert_eq!(taken, Err(Unanswerable::Unknown), "{header}");
        }
    }

    /// RFC 7616 §3.5: the nonce of Authentication-Info is the next one, and is counted from 1.
    #[test]
    fn the_next_nonce_is_taken() {
        let mut prover = Prover::default();
        prover.take(&asks("1", "")).unwrap();
        written(&mut prover);
        assert!(written(&mut prover).contains("nc=00000002"));
        let info = "Authentication-Info: nextnonce=\"next\", qop=auth, nc=00000002\r\n";
        prover.renew(&response(200, info));
        let next = written(&mut prover);
        assert!(next.contains("nonce=\"next\"") && next.contains("nc=00000001"));
        prover.renew(&response(200, ""));
        assert!(written(&mut prover).contains("nonce=\"next\""));
        prover.forget();
        assert_eq!(written(&mut prover), "");
    }
}
