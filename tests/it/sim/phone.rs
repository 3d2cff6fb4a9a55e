//! Desk telephones: they register, and prove by digest that it is they who call.

use tollgate::base::Random;
use tollgate::sip::auth::{Algorithm, AuthFailure, Challenge, Challenger, Credentials};
use tollgate::sip::{Builder, Message, Method, Name, ServerKey};

use super::agent::Side;
use super::setup::Who;
use super::{World, sbc};

/// What a telephone has in its configuration.
#[derive(Debug, Clone, Copy)]
pub struct Account {
    pub user: &'static str,
    pub password: &'static str,
}

impl Account {
    /// The value that answers a challenge.
    fn answer(self, asked: &Message, method: Method, uri: &str) -> (Name, String) {
        let mut challenge = Challenge::choose(asked).expect("a challenge");
        let credentials = Credentials {
            username: self.user.into(),
            password: self.password.into(),
        };
        let mut random = Random::from_number(7);
        let value = challenge.answer(&credentials, method, uri, b"", &mut random);
        (challenge.header(), value)
    }
}

impl World {
    /// A REGISTER for its own contact and five minutes, sent again with credentials when it is asked for them; the last
    /// answer.
    pub fn register(&mut self, who: Who, account: Account) -> Message {
        let contact = self.agents[who].contact();
        self.register_with(who, account, |draft| {
            draft
                .header(Name::Contact, &contact)
                .header(Name::Expires, "300");
        })
    }

    /// The same with what `change` puts into it.
    pub fn register_with(
        &mut self,
        who: Who,
        account: Account,
        change: impl Fn(&mut Builder),
    ) -> Message {
        let asked = self.ask_to_register(who, account, None, &change);
        if asked.status() != 401 {
            return asked;
        }
        let uri = self.registrar(who);
        let proof = account.answer(&asked, Method::Register, &uri);
        self.ask_to_register(who, account, Some(proof), &change)
    }

    fn registrar(&self, who: Who) -> String {
        format!("sip:{}", sbc(self.agents[who].transport))
    }

    /// One REGISTER; each has a higher number than the one before.
    pub fn ask_to_register(
        &mut self,
        who: Who,
        account: Account,
        proof: Option<(Name, String)>,
        change: &dyn Fn(&mut Builder),
    ) -> Message {
        let (uri, tag) = (self.registrar(who), self.random.token(8));
        self.agents[who].registers += 1;
        let number = self.agents[who].registers;
        let (name, host) = (self.agents[who].name, self.agents[who].address.ip());
        let of_record = format!("<sip:{}@tollgate.example>", account.user);
        let mut draft = Builder::request(Method::Register, &uri);
        draft
            .header(Name::MaxForwards, "70")
            .header_fmt(Name::From, format_args!("{of_record};tag={tag}"))
            .header(Name::To, &of_record)
            .header_fmt(Name::CallId, format_args!("register-{name}@{host}"))
            .header_fmt(Name::CSeq, format_args!("{number} REGISTER"))
            .header_fmt(Name::UserAgent, format_args!("Telephone {name}"));
        if let Some((name, value)) = proof {
            draft.header(name, value);
        }
        change(&mut draft);
        self.ask(who, draft)
    }

    /// A NOTIFY outside of a dialog: heeded, or asked for credentials once.
    pub(super) fn on_notify(&mut self, who: Who, key: ServerKey, message: Message) {
        let asks = std::mem::take(&mut self.agents[who].asks_notify);
        let mut draft = Builder::response(&message, if asks { 401 } else { 200 }, "");
        if asks {
            let algorithms = [Algorithm::SHA256, Algorithm::MD5];
            let mut random = Random::from_number(9);
            let mut challenger = Challenger::new("phone", &algorithms, &mut random, self.now);
            for value in challenger.challenge(AuthFailure::Missing, self.now) {
                draft.header(Name::WwwAuthenticate, value);
            }
            self.agents[who].challenger = Some(challenger);
        }
        self.agents[who].notified.push(message);
        self.agents[who].endpoint.respond(key, draft, self.now);
    }

    /// An INVITE of a telephone, which is asked for credentials and comes again with them.
    pub fn dial_from(&mut self, who: Who, account: Account, number: &str) -> Side {
        let uri = format!("sip:{number}@tollgate.example");
        let asked = self.dial_uri(who, &uri, account.user, |_| {});
        let answer = self.outcome(asked);
        assert_eq!(answer.status(), 407, "{answer:?}");
        let (name, value) = account.answer(&answer, Method::Invite, &uri);
        let call_id = self.sides[asked.0].invite.call_id().expect("a Call-ID");
        let call_id = call_id.to_owned();
        self.dial_uri(who, &uri, account.user, |draft| {
            draft
                .replace(Name::CallId, call_id)
                .replace(Name::CSeq, "2 INVITE")
                .header(name, value);
        })
    }
}
