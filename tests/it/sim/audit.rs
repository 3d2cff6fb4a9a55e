//! What must hold of every message that the SBC sends, whatever the test is about.

use std::collections::HashMap;

use bytes::Bytes;
use tollgate::sip::{Message, Method, Name, Uri};

use super::agent::Agent;
use super::sdp::line;
use super::setup::{ACME_FQDN, ACME2_FQDN, BASE_FQDN, BASE2_FQDN, RIVAL_FQDN, TEAMS, TEAMS3, Who};

/// In a header of all that agents send, and never to be seen again.
pub const LEAK: &str = "X-Leak";

/// Whose Call-IDs and tags are whose.
#[derive(Debug, Default)]
pub struct Audit {
    call_ids: HashMap<String, Who>,
    tags: HashMap<String, Who>,
    /// Whether the trunk at Teams has media bypass.
    media_bypass: bool,
    /// INVITEs that opened a dialog, by agent.
    pub invites: Vec<(Who, Message)>,
    /// The RAck of each PRACK.
    pub racks: Vec<String>,
}

impl Audit {
    /// Nothing has been sent yet.
    pub fn new(media_bypass: bool) -> Self {
        Self {
            media_bypass,
            ..Self::default()
        }
    }

    /// A test is about to do what is forbidden.
    pub fn forget(&mut self) {
        self.call_ids.clear();
        self.tags.clear();
    }

    /// What an agent sends.
    pub fn sent(&mut self, who: Who, message: &Message) {
        self.note(who, message);
    }

    /// What the SBC sends to an agent.
    pub fn received(&mut self, who: Who, agent: &Agent, bytes: &Bytes) {
        let message = match agent.transport.is_reliable() {
            true => Message::parse(bytes.clone()),
            false => Message::parse_datagram(bytes.clone()),
        };
        let message = message.expect("the SBC sends sound messages");
        message.check().expect("the SBC sends complete messages");
        assert!(
            message.header(Name::Extension(LEAK)).is_none(),
            "crossed: {message:?}"
        );
        self.note(who, &message);
        if message.is_request() && message.method() == Method::Invite && message.to_tag().is_none()
        {
            self.invites.push((who, message.clone()));
        }
        if message.is_request() && message.method() == Method::Prack {
            assert!(!agent.is_teams(), "TDR-510");
            let rack = message.header(Name::Rack).expect("a RAck");
            self.racks.push(rack.to_string());
        }
        if agent.is_teams() {
            to_teams(&message, self.media_bypass);
        } else {
            let text = String::from_utf8_lossy(bytes).to_lowercase();
            assert!(
                !text.contains("x-ms-") && !text.contains("\r\nms-"),
                "crossed to a trunk: {text}"
            );
        }
    }

    /// No Call-ID and no tag is seen by two agents. Microsoft's proxies are one: any of them may speak in a dialog.
    fn note(&mut self, who: Who, message: &Message) {
        let who = if who <= TEAMS3 { TEAMS } else { who };
        let call_id = message.call_id().expect("a Call-ID").to_owned();
        let owner = *self.call_ids.entry(call_id).or_insert(who);
        assert_eq!(owner, who, "a Call-ID crossed");
        for tag in [message.from_tag(), message.to_tag()].into_iter().flatten() {
            let owner = *self.tags.entry(tag.to_owned()).or_insert(who);
            assert_eq!(owner, who, "a tag crossed");
        }
    }
}

/// What Microsoft demands.
fn to_teams(message: &Message, media_bypass: bool) {
    let text = String::from_utf8_lossy(message.bytes()).into_owned();
    let status = message.status();
    let method = message.method();
    // TDR-404, TDR-412, TDR-413, TDR-714.
    for forbidden in [Name::RecordRoute, Name::Replaces] {
        let may = !message.is_request() && forbidden == Name::RecordRoute;
        assert!(
            may || message.header(forbidden).is_none(),
            "{forbidden:?} to Teams: {text}"
        );
    }
    assert!(!message.has_token(Name::Require, "100rel"), "{text}");
    assert!(!(message.is_request() && method == Method::Refer), "{text}");
    // TDR-403.
    let contact = message.contact().expect("a sound Contact");
    let wants = match message.is_request() {
        true => !matches!(method, Method::Ack | Method::Cancel | Method::Bye),
        false => {
            matches!(method, Method::Invite | Method::Options | Method::Update)
                && ((101..200).contains(&status) || (200..300).contains(&status))
        }
    };
    assert!(contact.is_some() || !wants, "no Contact: {text}");
    // TDR-502.
    let opens = method == Method::Invite && (message.is_request() || (200..300).contains(&status));
    let asks = method == Method::Options && status == 200;
    if opens || asks {
        assert!(message.has_token(Name::Supported, "replaces"), "{text}");
    }
    if let Some(contact) = contact {
        let uri = Uri::parse(contact.uri).expect("a URI");
        assert!(
            [ACME_FQDN, ACME2_FQDN, RIVAL_FQDN, BASE_FQDN, BASE2_FQDN].contains(&uri.host),
            "Contact: {text}"
        );
        // TDR-846: each kind of trunk has its own.
        let port = if media_bypass { 5062 } else { 5061 };
        assert_eq!(uri.port, Some(port), "{text}");
        assert_eq!(uri.params.get("transport"), Some(Some("tls")), "{text}");
    }
    if message.is_request() && method == Method::Invite && message.to_tag().is_none() {
        initial_invite(message, &text);
    }
    let body = message.body();
    if message.content_type() == Some("application/sdp") {
        let text = std::str::from_utf8(&body).expect("text");
        described_to_teams(text, media_bypass);
    }
}

/// TDR section 4.
fn initial_invite(message: &Message, text: &str) {
    assert!(message.has_token(Name::Supported, "timer"), "{text}");
    assert_eq!(
        message.content_type(),
        Some("application/sdp"),
        "TDR-411: {text}"
    );
    let uri = Uri::parse(message.request_uri()).expect("a URI");
    if uri.user.is_some_and(|user| user.starts_with('+')) {
        assert_eq!(
            uri.params.get("user"),
            Some(Some("phone")),
            "TDR-406: {text}"
        );
    }
    let from = Uri::parse(message.from().expect("From").uri).expect("a URI");
    let own = [ACME_FQDN, ACME2_FQDN, RIVAL_FQDN, "anonymous.invalid"];
    assert!(own.contains(&from.host), "TDR-409: {text}");
    let expires = message
        .header(Name::SessionExpires)
        .and_then(|v| v.text()?.parse::<u32>().ok());
    assert!(
        expires.is_none_or(|seconds| seconds >= 1800),
        "TDR-414: {text}"
    );
}

/// TDR-601, TDR-830 to TDR-832; with media bypass `a=ice-lite`, credentials and one candidate, else no ICE (TDR-840).
fn described_to_teams(sdp: &str, media_bypass: bool) {
    let count = |start: &str| sdp.lines().filter(|line| line.starts_with(start)).count();
    assert!(
        line(sdp, "m=audio ").is_some_and(|m| m.contains(" RTP/SAVP ")),
        "{sdp}"
    );
    assert_eq!(count("a=crypto:"), 1, "{sdp}");
    assert!(
        line(sdp, "a=crypto:").is_some_and(|c| c.contains("AES_CM_128_HMAC_SHA1_80")),
        "{sdp}"
    );
    assert_eq!(count("c=IN IP4 0.0.0.0"), 0, "{sdp}");
    let ice = if media_bypass { (1, 3) } else { (0, 0) };
    assert_eq!((count("a=candidate"), count("a=ice-")), ice, "{sdp}");
}
