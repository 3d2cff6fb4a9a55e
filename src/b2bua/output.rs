//! What calls want done, and what they tell of themselves.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::{ActivationId, Cdr, Direction, Health, RegistrationState, Resynced, Silence};
use crate::directory::Mac;
use crate::media::Command;
use crate::sip::{Hop, Realm, ResolveId, SendId, SendTo, Source};

/// What [`Calls`](super::Calls) wants done.
#[derive(Debug)]
pub enum Output {
    /// Send these bytes; failure comes back by [`Calls::send_failed`](super::Calls::send_failed).
    Send {
        /// For the failure.
        id: SendId,
        /// Where.
        to: SendTo,
        /// One whole message.
        bytes: Bytes,
    },
    /// Ask DNS; the answer comes back by [`Calls::resolved`](super::Calls::resolved).
    Resolve {
        /// For the answer.
        id: ResolveId,
        /// What.
        hop: Hop,
    },
    /// Tell the relay.
    Media(Command),
    /// Keep this record: one for each call that was tried.
    Cdr(Box<Cdr>),
    /// Ask whether this code activates this telephone, and let it; the answer comes back by [`Calls::activated`](super::Calls::activated) within ten
    /// seconds, or the caller hears that nobody can be asked.
    Activate {
        /// For the answer.
        id: ActivationId,
        /// The telephone's.
        mac: Mac,
        /// Thirteen digits.
        code: String,
        /// Where the telephone's packets come from.
        source: IpAddr,
    },
    /// What came of [`Calls::resync`](super::Calls::resync).
    Resynced {
        /// Who was to be told.
        auth_user: String,
        /// What came of it.
        outcome: Resynced,
    },
    /// Count this.
    Report(Report),
}

/// What metrics and health are made of.
#[derive(Debug, Clone)]
pub enum Report {
    /// An INVITE that opens a call came in from a peer or went out to one.
    Invite {
        /// A trunk's name, or `teams`.
        peer: String,
        /// Whether it is ours.
        outgoing: bool,
    },
    /// A final response to an INVITE that opens a call.
    Response {
        /// A trunk's name, or `teams`.
        peer: String,
        /// Whether it is ours.
        outgoing: bool,
        /// Its status.
        status: u16,
    },
    /// A call was refused, or ended unanswered.
    Refused {
        /// Whose, if known.
        customer: Option<Uuid>,
        /// [`Refusal::label`](super::Refusal::label).
        reason: &'static str,
    },
    /// An INVITE of a trunk with digest came without the right credentials.
    Unproven {
        /// Its name.
        trunk: String,
        /// [`Credentials::name`](super::Credentials::name).
        reason: &'static str,
    },
    /// A trunk brought a call to Teams in the name of another customer's number, as it may.
    ForeignCaller {
        /// Its name.
        trunk: String,
    },
    /// A request to a trunk goes by a datagram that is larger than one should be.
    LargeDatagram {
        /// Its name.
        trunk: String,
    },
    /// A key was not told to a trunk: too many waited, or its side of the call was not ready.
    KeyLost {
        /// Its name.
        trunk: String,
    },
    /// A refused caller was to hear why.
    Announcement {
        /// [`Announcement::name`](crate::audio::Announcement::name).
        which: &'static str,
        /// `played`, or why not: `full`, `no_channel`, `unfit`.
        outcome: &'static str,
    },
    /// A call took a channel.
    Admitted {
        /// Whose.
        customer: Uuid,
        /// Which way it goes.
        direction: Direction,
    },
    /// A call was answered.
    Answered {
        /// Whose.
        customer: Uuid,
        /// From the INVITE on.
        after: Duration,
    },
    /// An answered call is over.
    Ended {
        /// Whose.
        customer: Uuid,
        /// One word.
        why: &'static str,
        /// Why only one side was heard, if that was so.
        one_way: Option<Silence>,
    },
    /// Teams sent a call to a gateway that was only verified: Microsoft knows the way to it.
    GatewayProven {
        /// Its id.
        gateway: Uuid,
    },
    /// A request of an unknown peer was dropped without an answer.
    Dropped {
        /// Whose.
        source: Source,
    },
    /// A REGISTER of a desk telephone was answered, or a binding expired.
    Register {
        /// `registered`, `refreshed`, `removed`, `query`, `expired`, `lockout`, or why it was refused.
        outcome: &'static str,
    },
    /// A call to the line on which telephones are activated is over.
    Activation {
        /// `bound`, `refused`, `busy`, or `abandoned`.
        outcome: &'static str,
    },
    /// A desk telephone is registered, or still is.
    PhoneOnline {
        /// Its id.
        device: Uuid,
    },
    /// It is no longer.
    PhoneOffline {
        /// Its id.
        device: Uuid,
    },
    /// A peer went up or down.
    PeerChanged {
        /// Teams, or a trunk.
        realm: Realm,
        /// As in [`Calls::peers`](super::Calls::peers).
        name: String,
        /// What it is now.
        health: Health,
    },
    /// A registration at an exchange is in another state than before.
    Registration {
        /// Whose; none of a trunk that all customers share.
        customer: Option<Uuid>,
        /// Which.
        id: Uuid,
        /// Before.
        was: RegistrationState,
        /// Now.
        is: RegistrationState,
        /// The exchange's last answer, if there was one.
        code: Option<u16>,
        /// The same in words.
        reason: Option<String>,
    },
}
