//! One client transaction: a request on its way to one target, and what follows from it.

use std::mem;
use std::time::Instant;

use super::deadlines::Alarm;
use super::event::ClientKey;
use super::id::TransactionId;
use crate::sip::transaction::{ClientEvent, ClientOutput, Timers, client, client_invite};
use crate::sip::{
    Builder, Hop, Message, Method, Name, NextHop, Realm, SendTo, Target, Transport, locate,
};

pub(super) struct Attempt {
    pub machine: Machine,
    /// Its CANCEL has the same.
    pub branch: String,
    pub id: TransactionId,
    pub request: Message,
    pub way: Way,
    /// None when nobody waits for what becomes of it.
    pub owner: Option<ClientKey>,
    /// For a CANCEL.
    pub reason: Option<String>,
    pub alarm: Alarm,
}

pub(super) enum Machine {
    Invite(client_invite::State),
    Other(client::State),
}

/// Where a request goes, and by what.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub to: SendTo,
    pub transport: Transport,
    pub realm: Realm,
}

impl Attempt {
    pub fn new(
        request: Message,
        branch: String,
        way: Way,
        owner: Option<ClientKey>,
        now: Instant,
        t: &Timers,
    ) -> Self {
        let method = request.method();
        let machine = match method {
            Method::Invite => Machine::Invite(client_invite::State::start(now, t)),
            _ => Machine::Other(client::State::start(now, t)),
        };
        let id = TransactionId::client(&branch, method);
        Self {
            machine,
            branch,
            id,
            request,
            way,
            owner,
            reason: None,
            alarm: Alarm::default(),
        }
    }

    /// RFC 3261 §17.1.1.3: the ACK of a response of 300 or more.
    pub fn ack(&self, refusal: &Message) -> Message {
        let mut draft = self.follow_up(Method::Ack);
        draft.copy(refusal, Name::To);
        draft.finish(self.via().as_deref())
    }

    /// RFC 3261 §9.1.
    pub fn cancel(&self) -> Message {
        let mut draft = self.follow_up(Method::Cancel);
        draft.copy(&self.request, Name::To);
        if let Some(reason) = &self.reason {
            draft.header(Name::Reason, reason);
        }
        draft.finish(self.via().as_deref())
    }

    /// What the ACK of a refusal and a CANCEL share with their INVITE.
    fn follow_up(&self, method: Method) -> Builder {
        let mut draft = Builder::request(method, self.request.request_uri());
        let number = self.request.cseq().map_or(0, |cseq| cseq.number);
        for name in [Name::Route, Name::From, Name::CallId] {
            draft.copy(&self.request, name);
        }
        draft
            .header(Name::MaxForwards, "70")
            .header_fmt(Name::CSeq, format_args!("{number} {method}"));
        draft
    }

    fn via(&self) -> Option<String> {
        self.request
            .values(Name::Via)
            .next()
            .map(|via| via.to_string())
    }
}

impl Machine {
    pub fn on(
        &mut self,
        event: ClientEvent,
        now: Instant,
        t: &Timers,
        out: &mut Vec<ClientOutput>,
    ) {
        match self {
            Self::Invite(state) => {
                *state =
                    mem::replace(state, client_invite::State::Terminated).on(event, now, t, out);
            }
            Self::Other(state) => {
                *state = mem::replace(state, client::State::Terminated).on(event, now, t, out)
            }
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Invite(state) => state.deadline(),
            Self::Other(state) => state.deadline(),
        }
    }

    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Invite(client_invite::State::Accepted { .. }))
    }

    pub fn has_ended(&self) -> bool {
        matches!(
            self,
            Self::Invite(client_invite::State::Terminated) | Self::Other(client::State::Terminated)
        )
    }
}

impl Way {
    /// Where DNS need not be asked, the way; else what to ask for.
    pub fn known(next: NextHop) -> Result<Self, Hop> {
        match next {
            NextHop::Flow(
                flow,
                Target {
                    transport,
                    address,
                    realm,
                    ..
                },
            ) => Ok(Self {
                to: SendTo::Flow(flow, address),
                transport,
                realm,
            }),
            NextHop::Hop(hop) | NextHop::BySize(hop) => {
                locate::literal(&hop).map(Self::to).ok_or(hop)
            }
        }
    }

    /// By TCP to the same place, if this is by UDP.
    pub fn by_tcp(&self) -> Option<Self> {
        match &self.to {
            SendTo::Target(target) if target.transport == Transport::Udp => {
                Some(Self::to(Target {
                    transport: Transport::Tcp,
                    ..target.clone()
                }))
            }
            _ => None,
        }
    }

    pub fn to(target: Target) -> Self {
        Self {
            transport: target.transport,
            realm: target.realm,
            to: SendTo::Target(target),
        }
    }
}
