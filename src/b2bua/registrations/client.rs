//! One registration as a state machine (RFC 3261 §10.2).
//!
//! What it wants of the registrar is one thing, whether the registrar has a binding of ours another: a registration that
//! is being renewed, or whose renewal failed, stands until its time is over.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::Answer;
use super::pace;
use crate::base::Random;
use crate::directory::{Registration, bracketed};
use crate::sip::auth::{Credentials, Prover};
use crate::sip::{Builder, Failure, Flow, Message, Method, Name, NextHop, Source, Transport};

/// Where a registration is. `Over` has no way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its turn comes when there is room for it.
    Queued,
    /// A REGISTER is out.
    Asking {
        /// How often a 423 was obeyed meanwhile.
        brief: u8,
        /// Whether the registrar is to forget us.
        leaving: bool,
    },
    /// Nothing is to be done until then.
    Resting(Instant),
    /// The registrar has forgotten us, or will.
    Over,
}

/// What the registrar keeps of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Binding {
    /// From the first REGISTER of an unbroken row on.
    pub since: Instant,
    pub until: Instant,
    /// Who keeps it.
    pub registrar: SocketAddr,
    /// By which way it answered.
    pub flow: Flow,
    pub transport: Transport,
}

/// What came of the last REGISTER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// None where nobody answered.
    pub code: Option<u16>,
    /// For people.
    pub reason: Box<str>,
}

/// What the caller is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Send another REGISTER at once, which the registrar waits for.
    Again,
    /// Look at [`Client::deadline`], or at its stage.
    Settled,
}

/// How often one REGISTER obeys a 423.
const MOST_BRIEF: u8 = 2;

/// One registration.
#[derive(Debug)]
pub(super) struct Client {
    pub line: Arc<Registration>,
    pub stage: Stage,
    pub binding: Option<Binding>,
    /// Set, and it only wants to be forgotten.
    pub leaves: bool,
    /// Who registers in its place when it is forgotten: the same user with another address, or elsewhere. Both at once
    /// would take the same Contact from each other.
    pub successor: Option<Arc<Registration>>,
    /// Whether it ever was registered; what ran out is not what never was.
    pub expired: bool,
    pub failures: u32,
    pub last: Option<Outcome>,
    /// What [`super::Registrations`] has noted of it.
    pub noted: super::Noted,
    /// In its Call-ID: no other registration of this process has had it.
    serial: u64,
    prover: Prover,
    cseq: u32,
    /// Seconds that are asked for, more than configured where a registrar demanded it.
    expires: u32,
}

/// How a REGISTER of ours is written, besides what the registration says.
pub(super) struct Style<'a> {
    /// Of this run of the process: all REGISTERs of one registration have one Call-ID (RFC 3261 §10.2.4).
    pub boot: &'a str,
    pub own: String,
    pub product: &'a str,
}

impl Client {
    pub fn new(line: Arc<Registration>, serial: u64) -> Self {
        Self {
            expires: line.pbx.expires_s,
            line,
            stage: Stage::Queued,
            binding: None,
            leaves: false,
            successor: None,
            expired: false,
            failures: 0,
            last: None,
            noted: super::Noted::default(),
            serial,
            prover: Prover::default(),
            cseq: 0,
        }
    }

    /// The same binding by other rows. What the registrar is to see of it, it sees at once.
    pub fn replace(&mut self, line: Arc<Registration>) {
        let shows = |line: &Registration| (line.pbx.expires_s, line.pbx.keep_alive);
        if !self.line.has_same_credentials(&line) {
            self.prover.forget();
            self.hurry();
        } else if shows(&self.line) != shows(&line) {
            self.hurry();
        }
        self.expires = line.pbx.expires_s;
        self.line = line;
    }

    /// Does not wait any longer for its next REGISTER. What failed has still failed until that is answered.
    pub fn hurry(&mut self) {
        if let Stage::Resting(_) = self.stage {
            self.failures = self.failures.min(1);
            self.stage = Stage::Queued;
        }
    }

    /// It was to be forgotten, and is not any more.
    pub fn stay(&mut self, line: Arc<Registration>) {
        (self.leaves, self.successor) = (false, None);
        self.replace(line);
    }

    /// When it wants to hear of the time.
    pub fn deadline(&self) -> Option<Instant> {
        let rests = match self.stage {
            Stage::Resting(until) => Some(until),
            _ => None,
        };
        let ends = self.binding.map(|binding| binding.until);
        [rests, ends].into_iter().flatten().min()
    }

    /// The next REGISTER, which is on its way from now on.
    pub fn ask(&mut self, style: &Style<'_>, random: &mut Random) -> (Builder, NextHop) {
        let brief = match self.stage {
            Stage::Asking { brief, .. } => brief,
            _ => 0,
        };
        let leaving = self.leaves;
        self.stage = Stage::Asking { brief, leaving };
        self.cseq += 1;
        let expires = if leaving { 0 } else { self.expires };
        let line = &self.line;
        let parameter = match line.transport() {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
        };
        let aor = line.aor();
        let registrar = bracketed(&line.pbx.registrar);
        let mut draft = Builder::request(Method::Register, &format!("sip:{registrar}"));
        draft
            .header(Name::MaxForwards, "70")
            .header_fmt(Name::From, format_args!("<{aor}>;tag={}", random.token(10)))
            .header_fmt(Name::To, format_args!("<{aor}>"))
            .header_fmt(
                Name::CallId,
                format_args!("{}-{:x}", style.boot, self.serial),
            )
            .header_fmt(Name::CSeq, format_args!("{} REGISTER", self.cseq))
            .header_fmt(
                Name::Contact,
                format_args!(
                    "<sip:{}@{}{parameter}>;expires={expires}",
                    line.token, style.own
                ),
            )
            .header_fmt(Name::Expires, format_args!("{expires}"))
            .header(Name::Allow, crate::b2bua::core::ALLOW)
            .header(Name::UserAgent, style.product);
        let credentials = Credentials {
            username: line.auth_name.to_string(),
            password: line.password.expose().to_owned(),
        };
        self.prover
            .write(&credentials, Method::Register, &mut draft, random);
        (draft, NextHop::Hop(line.pbx.hop.clone()))
    }

    /// A final response to the REGISTER that is out.
    pub fn on_answer(
        &mut self,
        response: &Message,
        source: &Source,
        now: Instant,
        random: &mut Random,
    ) -> Next {
        let Stage::Asking { brief, leaving } = self.stage else {
            return Next::Settled;
        };
        let asked = if leaving { 0 } else { self.expires };
        let status = response.status();
        let answer = Answer::of(response, &self.line.token, asked);
        match answer {
            Answer::Challenged => match self.prover.take(response) {
                Ok(()) => return Next::Again,
                Err(why) => self.fail(Some(status), &why.to_string(), true, None, now, random),
            },
            Answer::TooBrief(seconds) if brief < MOST_BRIEF => {
                self.expires = seconds;
                self.stage = Stage::Asking {
                    brief: brief + 1,
                    leaving,
                };
                return Next::Again;
            }
            Answer::TooBrief(_) => {
                let reason = "the registrar's Min-Expires grows with every try";
                self.fail(Some(status), reason, true, None, now, random);
            }
            Answer::Granted(lasts) => self.stand(lasts, status, response, source, now, random),
            Answer::Gone => {
                self.binding = None;
                self.stage = self.left();
            }
            Answer::Refused {
                lasting,
                retry_after,
                reason,
            } => self.fail(Some(status), &reason, lasting, retry_after, now, random),
        }
        self.prover.settle();
        Next::Settled
    }

    /// No response will come.
    pub fn on_failure(&mut self, failure: &Failure, now: Instant, random: &mut Random) {
        self.prover.settle();
        self.fail(None, &failure.to_string(), false, None, now, random);
    }

    /// Its time has come, or its binding's. Returns whether a REGISTER is due.
    pub fn on_time(&mut self, now: Instant) -> bool {
        if self.binding.is_some_and(|binding| binding.until <= now) {
            self.binding = None;
            self.expired = true;
        }
        matches!(self.stage, Stage::Resting(until) if until <= now)
    }

    /// The registrar is to forget us. What it does not know it need not forget.
    pub fn leave(&mut self) {
        self.leaves = true;
        match self.stage {
            // What the answer says decides.
            Stage::Asking { .. } | Stage::Over => {}
            _ if self.binding.is_some() => self.stage = Stage::Queued,
            _ => self.stage = Stage::Over,
        }
    }

    /// What follows when the registrar has forgotten us, if that is still wanted.
    fn left(&self) -> Stage {
        if self.leaves {
            Stage::Over
        } else {
            Stage::Queued
        }
    }

    fn stand(
        &mut self,
        lasts: Duration,
        status: u16,
        response: &Message,
        source: &Source,
        now: Instant,
        random: &mut Random,
    ) {
        self.prover.renew(response);
        self.binding = Some(Binding {
            since: self.binding.map_or(now, |binding| binding.since),
            until: now + lasts,
            registrar: source.remote,
            flow: source.flow,
            transport: source.transport,
        });
        self.failures = 0;
        self.expired = false;
        self.last = Some(Outcome {
            code: Some(status),
            reason: "registered".into(),
        });
        self.stage = match self.leaves {
            true => Stage::Queued,
            false => Stage::Resting(now + pace::renewal(lasts, random)),
        };
    }

    fn fail(
        &mut self,
        code: Option<u16>,
        reason: &str,
        lasting: bool,
        retry_after: Option<u64>,
        now: Instant,
        random: &mut Random,
    ) {
        self.failures = self.failures.saturating_add(1);
        self.last = Some(Outcome {
            code,
            reason: reason.into(),
        });
        self.stage = match (self.stage, self.leaves) {
            // It was asked to forget us once; the binding ends by itself.
            (Stage::Asking { leaving: true, .. }, _) => {
                self.binding = None;
                self.left()
            }
            (_, true) if self.binding.is_some() => Stage::Queued,
            (_, true) => Stage::Over,
            _ => {
                let pause = pace::pause(self.failures, lasting, retry_after, random);
                Stage::Resting(now + pause)
            }
        };
    }

    /// Where the registration stands, if it does.
    pub fn stands_at(&self) -> Option<IpAddr> {
        self.binding
            .map(|binding| binding.registrar.ip().to_canonical())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::examples::{customer, registration, source};
    use bytes::Bytes;

    const STYLE: fn() -> Style<'static> = || Style {
        boot: "boot",
        own: "192.0.2.1:5060".to_owned(),
        product: "Tollgate/0",
    };

    struct Scene {
        client: Client,
        random: Random,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let line = registration("1001", &customer("acme"), &["+14255550100"]);
            Self {
                client: Client::new(line.into(), 7),
                random: Random::from_number(1),
                now: Instant::now(),
            }
        }

        fn ask(&mut self) -> Message {
            let (draft, _) = self.client.ask(&STYLE(), &mut self.random);
            draft.finish(None)
        }

        fn answer(&mut self, status: u16, headers: &str) -> Next {
            let text = format!(
                "SIP/2.0 {status} X\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a>;tag=1\r\n\
                 To: <sip:b>;tag=2\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n{headers}Content-Length: 0\r\n\r\n"
            );
            let response = Message::parse_datagram(Bytes::from(text)).unwrap();
            let source = source(Transport::Udp, "198.51.100.9:5060");
            self.client
                .on_answer(&response, &source, self.now, &mut self.random)
        }

        fn expires(request: &Message) -> u32 {
            request
                .header(Name::Expires)
                .and_then(|value| value.number())
                .unwrap()
        }

        fn rests_s(&self) -> u64 {
            match self.client.stage {
                Stage::Resting(until) => (until - self.now).as_secs(),
                other => panic!("{other:?}"),
            }
        }
    }

    const CHALLENGE: &str =
        "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=SHA-256\r\n";

    /// RFC 3261 §10.2, §10.2.4: who, where, for how long; one Call-ID, and a number that grows.
    #[test]
    fn a_register_says_what_it_has_to() {
        let mut scene = Scene::new();
        let first = scene.ask();
        let text = String::from_utf8_lossy(first.bytes()).into_owned();
        for line in [
            "REGISTER sip:pbx.example SIP/2.0\r\n",
            "To: <sip:1001@pbx.example>\r\n",
            "From: <sip:1001@pbx.example>;tag=",
            "CSeq: 1 REGISTER\r\n",
            "Contact: <sip:tok1001@192.0.2.1:5060>;expires=3600\r\n",
            "Expires: 3600\r\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert!(!text.contains("Authorization"));
        assert_eq!(scene.answer(401, CHALLENGE), Next::Again);
        let second = scene.ask();
        assert_eq!(second.call_id().unwrap(), first.call_id().unwrap());
        assert_eq!(second.cseq().unwrap().number, 2);
        let proof = second.header(Name::Authorization).unwrap().to_string();
        assert!(proof.contains("username=\"auth-1001\""), "{proof}");
        assert_eq!(scene.answer(200, ""), Next::Settled);
        assert!((2160..=2880).contains(&scene.rests_s()));
        let binding = scene.client.binding.unwrap();
        assert_eq!(binding.until - scene.now, Duration::from_secs(3600));
        assert_eq!(
            scene.client.stands_at(),
            Some("198.51.100.9".parse().unwrap())
        );
    }

    /// A shorter grant is renewed earlier; a renewal proves itself unasked and keeps the binding's beginning.
    #[test]
    fn a_shorter_grant_is_renewed_in_time() {
        let mut scene = Scene::new();
        scene.ask();
        scene.answer(401, CHALLENGE);
        scene.ask();
        scene.answer(200, "Contact: <sip:tok1001@192.0.2.1:5060>;expires=60\r\n");
        assert!((36..=48).contains(&scene.rests_s()));
        let since = scene.now;
        scene.now += Duration::from_secs(48);
        assert!(scene.client.on_time(scene.now));
        let renewal = scene.ask();
        let proof = renewal.header(Name::Authorization).unwrap().to_string();
        assert!(proof.contains("nc=00000002"), "{proof}");
        scene.answer(200, "Expires: 60\r\n");
        assert_eq!(scene.client.binding.unwrap().since, since);
    }

    /// RFC 3261 §10.2.8: a 423 is obeyed at once, and remembered; not without end.
    #[test]
    fn a_minimum_is_obeyed() {
        let mut scene = Scene::new();
        assert_eq!(Scene::expires(&scene.ask()), 3600);
        assert_eq!(scene.answer(423, "Min-Expires: 7200\r\n"), Next::Again);
        assert_eq!(Scene::expires(&scene.ask()), 7200);
        scene.answer(200, "");
        scene.now += Duration::from_secs(7000);
        scene.client.on_time(scene.now);
        assert_eq!(Scene::expires(&scene.ask()), 7200);
        assert_eq!(scene.answer(423, "Min-Expires: 7300\r\n"), Next::Again);
        scene.ask();
        assert_eq!(scene.answer(423, "Min-Expires: 7400\r\n"), Next::Again);
        scene.ask();
        assert_eq!(scene.answer(423, "Min-Expires: 7500\r\n"), Next::Settled);
        assert_eq!(scene.client.failures, 1);
        assert!(scene.client.binding.is_some(), "it stands while it lasts");
    }

    /// A wrong password is told in words, and not tried again for a minute; the second answer to a challenge decides.
    #[test]
    fn a_wrong_password_is_told() {
        let mut scene = Scene::new();
        scene.ask();
        assert_eq!(scene.answer(401, CHALLENGE), Next::Again);
        scene.ask();
        assert_eq!(scene.answer(401, CHALLENGE), Next::Settled);
        let last = scene.client.last.clone().unwrap();
        assert_eq!(last.code, Some(401));
        assert!(last.reason.contains("refuses our user name or password"));
        assert!(scene.rests_s() >= 60);
        scene.ask();
        let unknown = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=SHA3\r\n";
        scene.answer(401, unknown);
        let last = scene.client.last.clone().unwrap();
        assert!(last.reason.contains("in a way that we do not know"));
    }

    /// A nonce that is too old costs one more round and no failure.
    #[test]
    fn a_stale_nonce_is_no_failure() {
        let mut scene = Scene::new();
        scene.ask();
        scene.answer(401, CHALLENGE);
        scene.ask();
        let stale = CHALLENGE.replace("\"n\"", "\"m\", stale=true");
        assert_eq!(scene.answer(401, &stale), Next::Again);
        let again = scene.ask().header(Name::Authorization).unwrap().to_string();
        assert!(again.contains("nonce=\"m\""));
        scene.answer(200, "");
        assert_eq!(scene.client.failures, 0);
    }

    /// A failed renewal leaves the binding until it runs out, and then tells that it did.
    #[test]
    fn a_binding_outlives_a_failed_renewal() {
        let mut scene = Scene::new();
        scene.ask();
        scene.answer(200, "Expires: 100\r\n");
        scene.now += Duration::from_secs(80);
        assert!(scene.client.on_time(scene.now));
        scene.ask();
        scene
            .client
            .on_failure(&Failure::Timeout, scene.now, &mut scene.random);
        assert!(scene.client.binding.is_some() && !scene.client.expired);
        scene.now += Duration::from_secs(20);
        scene.client.on_time(scene.now);
        assert!(scene.client.binding.is_none() && scene.client.expired);
        scene.ask();
        scene.answer(200, "");
        assert!(!scene.client.expired);
    }

    /// Whoever leaves says so once: by a REGISTER with Expires 0, after the answer to one that is out.
    #[test]
    fn leaving_removes_the_binding() {
        let mut scene = Scene::new();
        scene.client.leave();
        assert_eq!(scene.client.stage, Stage::Over, "nobody knows it");

        let mut scene = Scene::new();
        scene.ask();
        scene.client.leave();
        assert_eq!(scene.answer(401, CHALLENGE), Next::Again);
        let request = scene.ask();
        assert_eq!(Scene::expires(&request), 0);
        let contact = request.header(Name::Contact).unwrap().to_string();
        assert!(contact.ends_with(";expires=0"), "{contact}");
        scene.answer(200, "");
        assert_eq!(scene.client.stage, Stage::Over);

        let mut scene = Scene::new();
        scene.ask();
        scene.answer(200, "");
        scene.client.leave();
        assert_eq!(scene.client.stage, Stage::Queued);
        scene.ask();
        scene
            .client
            .on_failure(&Failure::Timeout, scene.now, &mut scene.random);
        assert_eq!(scene.client.stage, Stage::Over, "it is not asked again");
    }

    /// Wanted again while the REGISTER that ends it is out, it registers once more.
    #[test]
    fn who_is_wanted_again_comes_back() {
        let mut scene = Scene::new();
        scene.ask();
        scene.answer(200, "");
        scene.client.leave();
        scene.ask();
        let line = Arc::clone(&scene.client.line);
        scene.client.stay(line);
        scene.answer(200, "");
        assert_eq!(scene.client.stage, Stage::Queued);
        assert_eq!(Scene::expires(&scene.ask()), 3600);
    }

    /// A new password is tried at once; another number of the user is nothing to the registrar.
    #[test]
    fn what_the_registrar_sees_is_shown_at_once() {
        let mut scene = Scene::new();
        scene.ask();
        scene.answer(200, "");
        let mut line = Registration::clone(&scene.client.line);
        line.numbers = Box::default();
        scene.client.replace(line.clone().into());
        assert!(matches!(scene.client.stage, Stage::Resting(_)));
        line.password = crate::directory::Secret::new("another");
        scene.client.replace(line.into());
        assert_eq!(scene.client.stage, Stage::Queued);
    }
}
