//! The registrar of an agent: it takes what is registered, as strictly as a test wants it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use tollgate::base::Random;
use tollgate::sip::auth::{Algorithm, AuthFailure, Challenger};
use tollgate::sip::{Builder, Message, Name, NameAddr};

/// What it says next, instead of what it would.
#[derive(Debug, Clone)]
pub struct Say(pub u16, pub Vec<(Name, String)>);

pub struct Registrar {
    /// Every REGISTER that came in, but copies.
    pub heard: Vec<(Instant, Message)>,
    /// What is said to the next ones.
    pub says: VecDeque<Say>,
    /// What is said to all of them.
    pub always: Option<Say>,
    /// Seconds that it grants at most.
    pub grants: u32,
    /// Seconds below which it answers 423.
    pub min: u32,
    /// Asks for credentials; the password is `s3same`.
    pub challenger: Option<Challenger>,
    /// Contacts by address-of-record, and until when.
    pub bindings: BTreeMap<String, (String, Instant)>,
}

impl Registrar {
    pub fn new() -> Self {
        Self {
            heard: Vec::new(),
            says: VecDeque::new(),
            always: None,
            grants: 86_400,
            min: 0,
            challenger: None,
            bindings: BTreeMap::new(),
        }
    }

    /// It asks for credentials from now on.
    pub fn challenge(&mut self, now: Instant) {
        let mut random = Random::from_number(7);
        let hashes = [Algorithm::SHA256, Algorithm::MD5];
        self.challenger = Some(Challenger::new("pbx.example", &hashes, &mut random, now));
    }

    pub fn answer(&mut self, request: &Message, now: Instant) -> Builder {
        self.heard.push((now, request.clone()));
        let said = self.says.pop_front().or_else(|| self.always.clone());
        if let Some(Say(status, headers)) = said {
            let mut draft = Builder::response(request, status, "");
            for (name, value) in headers {
                draft.header(name, value);
            }
            return draft;
        }
        if let Some(challenger) = &mut self.challenger {
            let checked = challenger.check(request, |_| Some("s3same".into()), now);
            match checked {
                Ok(_) => {}
                Err(failure @ (AuthFailure::Missing | AuthFailure::Stale)) => {
                    let mut draft = Builder::response(request, 401, "");
                    for value in challenger.challenge(failure, now) {
                        draft.header(Name::WwwAuthenticate, value);
                    }
                    return draft;
                }
                Err(_) => return Builder::response(request, 403, ""),
            }
        }
        let number = |name| request.header(name).and_then(|value| value.number());
        let asked = number(Name::Expires).unwrap_or(3600);
        if asked > 0 && asked < self.min {
            let mut draft = Builder::response(request, 423, "");
            draft.header_fmt(Name::MinExpires, format_args!("{}", self.min));
            return draft;
        }
        let granted = asked.min(self.grants);
        let aor = request.to().expect("a To").uri.to_owned();
        let contact = request.header(Name::Contact).expect("a Contact");
        let contact = NameAddr::parse(contact.bytes()).expect("an address");
        let contact = contact.uri.to_owned();
        let mut draft = Builder::response(request, 200, "");
        if granted == 0 {
            self.bindings.remove(&aor);
        } else {
            draft.header_fmt(Name::Contact, format_args!("<{contact}>;expires={granted}"));
            let until = now + Duration::from_secs(granted.into());
            self.bindings.insert(aor, (contact, until));
        }
        draft
    }

    /// What the REGISTERs that came in asked for, in seconds.
    pub fn asked(&self) -> Vec<u32> {
        let expires = |(_, request): &(Instant, Message)| {
            let value = request.header(Name::Expires)?;
            value.number()
        };
        self.heard.iter().filter_map(expires).collect()
    }
}
