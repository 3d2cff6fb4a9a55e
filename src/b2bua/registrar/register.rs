//! A REGISTER (RFC 3261 §10.3): who sends it, what it asks for, and what comes of it.

use std::time::{Duration, Instant};

use time::OffsetDateTime;
use time::macros::format_description;
use tracing::debug;

use super::bindings::{Binding, Registered, Who};
use super::contact::{Asked, Contact};
use super::prove::Unproven;
use super::{Reach, RegistrarConfig, registrant};
use crate::b2bua::core::ALLOW;
use crate::b2bua::{Calls, Report, extensions};
use crate::base::Redact;
use crate::sip::auth::AuthFailure;
use crate::sip::{Builder, Message, Name, ServerKey, Source, Transport};

/// Contacts of one name; a REGISTER for one more takes the place of that which was heard of longest ago.
const MOST_CONTACTS: usize = 4;
/// Bytes that are kept of a Call-ID; a REGISTER with a longer one is refused.
const LONGEST_CALL_ID: usize = 256;
/// Bytes that are kept of a User-Agent.
const LONGEST_AGENT: usize = 96;
/// Seconds within which a telephone that knows flows shows that its own lives (RFC 5626 §4.4).
const FLOW_TIMER: u32 = 60;
/// When one may come again for whom there was no room, in seconds.
const RETRY_AFTER: u32 = 60;

/// Why a REGISTER changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Rejected {
    #[error("{0}")]
    Unproven(#[from] Unproven),
    #[error("{0}")]
    Malformed(&'static str),
    #[error("the interval is too short")]
    TooBrief,
    #[error("a newer REGISTER of the same Call-ID came before")]
    OutOfOrder,
    #[error("the table of telephones is full")]
    Full,
}

impl Rejected {
    fn status(self) -> u16 {
        match self {
            Self::Unproven(unproven) if unproven.asks_again().is_some() => 401,
            Self::Unproven(Unproven::Failed(AuthFailure::Malformed)) | Self::Malformed(_) => 400,
            Self::Unproven(_) => 403,
            Self::TooBrief => 423,
            Self::OutOfOrder => 500,
            Self::Full => 503,
        }
    }

    /// The metric label `outcome`.
    fn label(self) -> &'static str {
        match self {
            Self::Unproven(unproven) => unproven.label(),
            Self::Malformed(_) => "malformed",
            Self::TooBrief => "too_brief",
            Self::OutOfOrder => "out_of_order",
            Self::Full => "full",
        }
    }
}

/// A REGISTER whose sender is proven.
struct Proven<'a> {
    user: &'a str,
    who: Who,
    message: &'a Message,
    source: &'a Source,
    call_id: &'a str,
    cseq: u32,
}

impl Calls {
    /// A REGISTER: it is answered here, whatever comes of it.
    pub(in crate::b2bua) fn on_register(
        &mut self,
        key: ServerKey,
        message: &Message,
        source: &Source,
    ) {
        let core = &mut self.core;
        if !core.config.registrar.enabled {
            let mut draft = core.response(message, 405, false);
            draft.header(Name::Allow, ALLOW);
            return core.endpoint.respond(key, draft, core.now);
        }
        if let Some(names) = extensions::unsupported(message, None) {
            let mut draft = core.response(message, 420, false);
            draft.header(Name::Unsupported, names);
            return core.endpoint.respond(key, draft, core.now);
        }
        let draft = match self.register(message, source) {
            Ok((user, outcome)) => {
                self.core.report(Report::Register { outcome });
                self.bound(message, &user)
            }
            Err(rejected) => {
                debug!(from = %source.remote, %rejected, "REGISTER refused");
                self.core.report(Report::Register {
                    outcome: rejected.label(),
                });
                self.rejected(message, rejected)
            }
        };
        self.core.endpoint.respond(key, draft, self.core.now);
    }

    /// Does what it asks for, or nothing of it.
    fn register(
        &mut self,
        message: &Message,
        source: &Source,
    ) -> Result<(String, &'static str), Rejected> {
        let user = registrant(message).ok_or(Rejected::Malformed("To names nobody"))?;
        let who = self.prove(&user, Name::Authorization, message, source)?;
        let malformed = |_| Rejected::Malformed("Call-ID or CSeq is missing");
        let proven = Proven {
            user: &user,
            who,
            message,
            source,
            call_id: message.call_id().map_err(malformed)?,
            cseq: message.cseq().map_err(malformed)?.number,
        };
        if proven.call_id.len() > LONGEST_CALL_ID {
            return Err(Rejected::Malformed("Call-ID is too long"));
        }
        let outcome = match Asked::of(message).map_err(Rejected::Malformed)? {
            Asked::Nothing => "query",
            Asked::Removal => self.remove_all(&proven)?,
            Asked::These(contacts) => self.bind(&proven, &contacts)?,
        };
        Ok((user, outcome))
    }

    /// RFC 3261 §10.3 step 6.
    fn remove_all(&mut self, proven: &Proven) -> Result<&'static str, Rejected> {
        let registrar = &mut self.core.registrar;
        let bound = registrar.bindings.get(proven.user);
        let bindings = bound.map_or(&[][..], |of| of.bindings.as_slice());
        if !bindings
            .iter()
            .all(|b| b.is_older_than(proven.call_id, proven.cseq))
        {
            return Err(Rejected::OutOfOrder);
        }
        let had = !bindings.is_empty();
        registrar.bindings.remove(proven.user);
        if had {
            self.tell_offline(&proven.who);
        }
        Ok("removed")
    }

    /// RFC 3261 §10.3 step 7: all contacts, or none.
    fn bind(&mut self, proven: &Proven, contacts: &[Contact]) -> Result<&'static str, Rejected> {
        let core = &mut self.core;
        let now = core.now;
        core.registrar.registers += 1;
        let order = core.registrar.registers;
        let bound = core.registrar.bindings.get(proven.user);
        let was_bound = bound.is_some();
        let mut bindings = bound.map(|of| of.bindings.clone()).unwrap_or_default();
        bindings.retain(|binding| binding.expires > now);
        for contact in contacts {
            let held = Registered::position(&bindings, contact);
            if held.is_some_and(|at| !bindings[at].is_older_than(proven.call_id, proven.cseq)) {
                return Err(Rejected::OutOfOrder);
            }
            let granted = proven.granted(&core.config.registrar, contact)?;
            if let Some(at) = held {
                bindings.remove(at);
            }
            if granted > Duration::ZERO {
                bindings.push(proven.binding(contact, now + granted, order));
            }
        }
        bindings.sort_by_key(|binding| binding.order);
        let surplus = bindings.len().saturating_sub(MOST_CONTACTS);
        bindings.drain(..surplus);

        let table = &core.registrar.bindings;
        let is_full = match proven.who {
            Who::Phone(_) => table.len() >= core.config.registrar.max_phones,
            Who::Bootstrap(_) => table.bootstraps() >= core.config.registrar.max_bootstraps,
        };
        if is_full && !was_bound {
            return Err(Rejected::Full);
        }
        let stays = !bindings.is_empty();
        let registered = Registered {
            who: proven.who.clone(),
            user_agent: agent(proven.message),
            bindings,
        };
        core.registrar.bindings.put(proven.user, registered);
        match (was_bound, stays) {
            (false, false) => Ok("removed"),
            (true, false) => {
                self.tell_offline(&proven.who);
                Ok("removed")
            }
            (_, true) => {
                self.tell_online(&proven.who);
                Ok(if was_bound { "refreshed" } else { "registered" })
            }
        }
    }

    fn tell_online(&mut self, who: &Who) {
        if let Who::Phone(phone) = who {
            let device = phone.device;
            self.core.report(Report::PhoneOnline { device });
        }
    }

    fn tell_offline(&mut self, who: &Who) {
        if let Who::Phone(phone) = who {
            let device = phone.device;
            self.core.report(Report::PhoneOffline { device });
        }
    }

    /// Forgets whose time is over.
    pub(in crate::b2bua) fn on_registrar_time(&mut self) {
        let gone = self.core.registrar.bindings.expire(self.core.now);
        for (user, who) in gone {
            debug!(user = %Redact(&user), "a registration has expired");
            self.core.report(Report::Register { outcome: "expired" });
            self.tell_offline(&who);
        }
    }

    /// RFC 3261 §10.3 step 8: a 200 tells all that is bound.
    fn bound(&self, message: &Message, user: &str) -> Builder {
        let core = &self.core;
        let mut draft = core.response(message, 200, false);
        let bound = core.registrar.bindings.get(user);
        for binding in bound.iter().flat_map(|of| &of.bindings) {
            let left = binding.expires.saturating_duration_since(core.now);
            draft.header_fmt(Name::Contact, format_args!("{}", listed(binding, left)));
        }
        // RFC 5626 §6: it is told that its flow is what will be used, and how often to show that it lives.
        let has_flow = |of: &&Registered| of.bindings.iter().any(Binding::has_flow);
        if knows_flows(message) && bound.as_ref().is_some_and(has_flow) {
            draft
                .header(Name::Require, extensions::OUTBOUND)
                .header_fmt(Name::FlowTimer, format_args!("{FLOW_TIMER}"));
        }
        draft.header(Name::Supported, extensions::OUTBOUND);
        draft.header(Name::Date, date(core.wall()));
        draft
    }

    fn rejected(&mut self, message: &Message, rejected: Rejected) -> Builder {
        let core = &mut self.core;
        let mut draft = core.response(message, rejected.status(), false);
        match rejected {
            Rejected::Unproven(unproven) => {
                let failure = unproven.asks_again().into_iter();
                let algorithms = core.config.registrar.algorithms();
                let challenges =
                    failure.flat_map(|f| core.challenger.challenge_in(algorithms, f, core.now));
                for challenge in challenges.collect::<Vec<_>>() {
                    draft.header(Name::WwwAuthenticate, challenge);
                }
            }
            Rejected::TooBrief => {
                let least = core.config.registrar.min_expires.as_secs();
                draft.header_fmt(Name::MinExpires, format_args!("{least}"));
            }
            Rejected::Full => {
                draft.header_fmt(Name::RetryAfter, format_args!("{RETRY_AFTER}"));
            }
            _ => {}
        }
        draft
    }
}

impl Proven<'_> {
    /// For how long a contact is bound (RFC 3261 §10.3 step 7); zero removes it.
    fn granted(&self, config: &RegistrarConfig, contact: &Contact) -> Result<Duration, Rejected> {
        let asked = contact.expires.map(|s| Duration::from_secs(s.into()));
        let asked = asked.unwrap_or(config.max_expires);
        if asked > Duration::ZERO && asked < config.min_expires {
            return Err(Rejected::TooBrief);
        }
        let keeps_alive =
            contact.instance.as_ref().is_some_and(|i| i.reg_id > 0) && knows_flows(self.message);
        let closes =
            self.source.transport.is_reliable() || is_behind_nat(&contact.uri, self.source);
        let longest = match closes && !keeps_alive {
            true => config.path_expires.min(config.max_expires),
            false => config.max_expires,
        };
        Ok(asked.min(longest))
    }

    fn binding(&self, contact: &Contact, expires: Instant, order: u64) -> Binding {
        Binding {
            reach: Reach::new(&contact.uri, self.source),
            expires,
            q: contact.q,
            call_id: self.call_id.into(),
            cseq: self.cseq,
            instance: contact.instance.clone(),
            order,
        }
    }
}

impl Binding {
    /// Whether it names a flow of its device (RFC 5626 §4.2).
    fn has_flow(&self) -> bool {
        self.instance.as_ref().is_some_and(|i| i.reg_id > 0)
    }
}

/// Whether its sender keeps its flow open (RFC 5626 §4.2.1).
fn knows_flows(register: &Message) -> bool {
    register.has_token(Name::Supported, extensions::OUTBOUND)
}

/// Whether datagrams come from elsewhere than the contact says.
fn is_behind_nat(contact: &str, source: &Source) -> bool {
    let host = crate::sip::Uri::parse(contact).map(|uri| uri.host.to_owned());
    let own = source.remote.ip().to_canonical().to_string();
    source.transport == Transport::Udp && host.is_ok_and(|host| host != own)
}

fn listed(binding: &Binding, left: Duration) -> String {
    // What is left of a second counts whole, or a telephone would come too early for ever.
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    let mut text = format!("<{}>;expires={seconds}", binding.reach.contact);
    if binding.q < 1000 {
        text += &format!(";q=0.{:03}", binding.q);
    }
    if let Some(instance) = &binding.instance {
        text += &format!(";+sip.instance=\"{}\"", instance.id);
        if instance.reg_id > 0 {
            text += &format!(";reg-id={}", instance.reg_id);
        }
    }
    text
}

fn agent(message: &Message) -> Box<str> {
    let text = message.header(Name::UserAgent).map(|v| v.to_string());
    let text: String = text.unwrap_or_default();
    text.chars().take(LONGEST_AGENT).collect::<String>().into()
}

/// RFC 3261 §20.17.
fn date(at: OffsetDateTime) -> String {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    at.format(format).unwrap_or_default()
}
