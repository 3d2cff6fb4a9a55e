//! Dialogs (RFC 3261 §12): what two user agents remember of each other between requests.

use super::{Builder, HeaderError, Hop, Message, Method, Name, NameAddr, Realm, Transport, Uri};

/// Why there is no dialog, or why a request does not belong into it now.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DialogError {
    /// A header that the dialog is made of cannot be read.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// There is no tag of the other side, or none of ours in a request of ours.
    #[error("a tag is missing")]
    NoTag,
    /// A dialog needs to know where its requests go.
    #[error("there is no Contact")]
    NoContact,
    /// A Contact or Record-Route that no request can follow.
    #[error("{0:?} is not a SIP URI that can be reached")]
    Unreachable(String),
    /// RFC 3261 §12.2.2: the request is older than the last one; the answer is 500.
    #[error("CSeq {found} comes after {last}")]
    OutOfOrder {
        /// What came.
        found: u32,
        /// The highest so far.
        last: u32,
    },
}

/// What tells a dialog from all others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DialogId {
    /// The same on both sides.
    pub call_id: String,
    /// Ours.
    pub local_tag: String,
    /// The peer's; a peer of RFC 2543 has none.
    pub remote_tag: Option<String>,
}

/// One dialog, early or confirmed. Header values are kept byte for byte, as peers compare them.
#[derive(Debug, Clone)]
pub struct Dialog {
    id: DialogId,
    /// The whole value of our From, with its tag.
    local: Vec<u8>,
    /// The whole value of our To, with its tag.
    remote: Vec<u8>,
    remote_target: String,
    route_set: Vec<String>,
    local_seq: u32,
    remote_seq: Option<u32>,
    next: Next,
}

/// Where the next request goes, as far as the URIs tell.
#[derive(Debug, Clone)]
struct Next {
    host: String,
    port: Option<u16>,
    transport: Option<Transport>,
    /// RFC 3261 §16.12.1.1: the first route wants to stand in the Request-URI.
    strict: bool,
}

impl Dialog {
    /// RFC 3261 §12.1.2: from a request of ours and a response of 101 to 299. A response without a Contact, which some
    /// peers send, leaves the target that the request had.
    ///
    /// # Errors
    /// When the peer left out what a dialog is made of.
    pub fn uac(request: &Message, response: &Message) -> Result<Self, DialogError> {
        let target = match response.contact()? {
            Some(contact) => contact.uri,
            None => request.request_uri(),
        };
        let mut route_set = record_routes(response)?;
        route_set.reverse();
        Ok(Self {
            id: DialogId {
                call_id: request.call_id()?.to_owned(),
                local_tag: request.from_tag().ok_or(DialogError::NoTag)?.to_owned(),
                remote_tag: response.to_tag().map(str::to_owned),
            },
            local: value(request, Name::From),
            remote: value(response, Name::To),
            next: Next::of(&route_set, target)?,
            remote_target: target.to_owned(),
            route_set,
            local_seq: request.cseq()?.number,
            remote_seq: None,
        })
    }

    /// RFC 3261 §12.1.1: from a peer's request, answered with this tag of ours.
    ///
    /// # Errors
    /// When the peer left out what a dialog is made of.
    pub fn uas(request: &Message, local_tag: &str) -> Result<Self, DialogError> {
        let target = request.contact()?.ok_or(DialogError::NoContact)?.uri;
        let route_set = record_routes(request)?;
        let mut local = value(request, Name::To);
        if request.to_tag().is_none() {
            local.extend_from_slice(format!(";tag={local_tag}").as_bytes());
        }
        Ok(Self {
            id: DialogId {
                call_id: request.call_id()?.to_owned(),
                local_tag: local_tag.to_owned(),
                remote_tag: request.from_tag().map(str::to_owned),
            },
            local,
            remote: value(request, Name::From),
            next: Next::of(&route_set, target)?,
            remote_target: target.to_owned(),
            route_set,
            local_seq: 0,
            remote_seq: Some(request.cseq()?.number),
        })
    }

    /// What tells it from all others.
    pub fn id(&self) -> &DialogId {
        &self.id
    }

    /// The peer's Contact, where requests finally go.
    pub fn remote_target(&self) -> &str {
        &self.remote_target
    }

    /// The Route values of our requests, in order.
    pub fn route_set(&self) -> &[String] {
        &self.route_set
    }

    /// The CSeq number of our last request.
    pub fn local_seq(&self) -> u32 {
        self.local_seq
    }

    /// The CSeq number of the peer's last request.
    pub fn remote_seq(&self) -> Option<u32> {
        self.remote_seq
    }

    /// RFC 3261 §12.2.1.1: our next request, with all that the dialog knows and Max-Forwards 70. Send it to
    /// [`Dialog::next_hop`].
    pub fn request(&mut self, method: Method) -> Builder {
        self.local_seq = self.local_seq.saturating_add(1);
        self.draft(method, self.local_seq)
    }

    /// The ACK of the 2xx to our INVITE of this CSeq number (RFC 3261 §13.2.2.4).
    pub fn ack(&self, cseq: u32) -> Builder {
        self.draft(Method::Ack, cseq)
    }

    /// Where requests go first: the first route or the remote target.
    pub fn next_hop(&self, realm: Realm) -> Hop {
        let Next {
            host,
            port,
            transport,
            ..
        } = &self.next;
        Hop {
            host: host.clone(),
            port: *port,
            transport: *transport,
            realm,
        }
    }

    /// RFC 3261 §12.2.2: takes note of a request of the peer. ACK and CANCEL, whose number is an INVITE's, are not
    /// meant.
    ///
    /// # Errors
    /// [`DialogError::OutOfOrder`] when a later one was seen.
    pub fn accept(&mut self, request: &Message) -> Result<(), DialogError> {
        let found = request.cseq()?.number;
        match self.remote_seq {
            Some(last) if found < last => Err(DialogError::OutOfOrder { found, last }),
            _ => {
                self.remote_seq = Some(found);
                Ok(())
            }
        }
    }

    /// RFC 3261 §12.2.1.2 and §12.2.2: takes over the Contact of a target refresh request or of its 2xx. A Contact that
    /// cannot be used leaves the target as it is.
    pub fn refresh_target(&mut self, message: &Message) {
        let Ok(Some(contact)) = message.contact() else {
            return;
        };
        if let Ok(next) = Next::of(&self.route_set, contact.uri) {
            self.next = next;
            self.remote_target = contact.uri.to_owned();
        }
    }

    /// RFC 3261 §13.2.2.4: the 2xx that confirms an early dialog brings its own route set and target; the numbers go on.
    ///
    /// # Errors
    /// When the 2xx has routes or a Contact that no request can follow.
    pub fn confirm(&mut self, request: &Message, response: &Message) -> Result<(), DialogError> {
        let confirmed = Self::uac(request, response)?;
        let local_seq = self.local_seq.max(confirmed.local_seq);
        *self = Self {
            local_seq,
            remote_seq: self.remote_seq,
            ..confirmed
        };
        Ok(())
    }

    fn draft(&self, method: Method, cseq: u32) -> Builder {
        let strict = self.next.strict.then(|| self.route_set.first()).flatten();
        let uri = match strict.map(NameAddr::parse) {
            Some(Ok(route)) => route.uri,
            _ => &self.remote_target,
        };
        let mut draft = Builder::request(method, uri);
        for route in self.route_set.iter().skip(usize::from(strict.is_some())) {
            draft.header(Name::Route, route);
        }
        if strict.is_some() {
            draft.header_fmt(Name::Route, format_args!("<{}>", self.remote_target));
        }
        draft
            .header(Name::MaxForwards, "70")
            .header(Name::From, &self.local)
            .header(Name::To, &self.remote)
            .header(Name::CallId, &self.id.call_id)
            .header_fmt(Name::CSeq, format_args!("{cseq} {method}"));
        draft
    }
}

impl Next {
    fn of(route_set: &[String], target: &str) -> Result<Self, DialogError> {
        let unreachable = |text: &str| DialogError::Unreachable(text.to_owned());
        let (text, route) = match route_set.first() {
            Some(route) => (
                NameAddr::parse(route).map_err(|_| unreachable(route))?.uri,
                true,
            ),
            None => (target, false),
        };
        let uri = Uri::parse(text).map_err(|_| unreachable(text))?;
        let secure = match uri.scheme {
            "sip" => false,
            "sips" => true,
            _ => return Err(unreachable(text)),
        };
        let transport = match uri.params.get("transport").flatten() {
            None => secure.then_some(Transport::Tls),
            Some(_) if secure => Some(Transport::Tls),
            Some(name) => {
                let known = [Transport::Udp, Transport::Tcp, Transport::Tls];
                let found = known
                    .into_iter()
                    .find(|known| name.eq_ignore_ascii_case(known.parameter()));
                Some(found.ok_or_else(|| unreachable(text))?)
            }
        };
        let strict = route && uri.params.get("lr").is_none();
        Ok(Self {
            host: uri.host.to_owned(),
            port: uri.port,
            transport,
            strict,
        })
    }
}

fn record_routes(message: &Message) -> Result<Vec<String>, DialogError> {
    let values = message.values(Name::RecordRoute);
    values
        .map(|value| {
            value
                .text()
                .map(str::to_owned)
                .ok_or_else(|| DialogError::Unreachable(value.to_string()))
        })
        .collect()
}

fn value(message: &Message, name: Name) -> Vec<u8> {
    message
        .header(name)
        .map(|value| value.bytes().to_vec())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn message(first_line: &str, headers: &[&str]) -> Message {
        let text = format!(
            "{first_line}\r\nVia: SIP/2.0/TLS sbc.example;branch=z9hG4bK1\r\nCall-ID: c\r\n{}\r\n\r\n",
            headers.join("\r\n")
        );
        Message::parse_datagram(Bytes::from(text)).unwrap()
    }

    const FROM: &str = "From: \"Al, \\\"ice\\\"\" <sip:alice@a.example;x=Y>;tag=a;z";
    const TO: &str = "To: <sip:Bob@b.example>";

    fn invite(headers: &[&str]) -> Message {
        let all = [&[FROM, TO, "CSeq: 7 INVITE"], headers].concat();
        message("INVITE sip:bob@b.example SIP/2.0", &all)
    }

    fn answer(headers: &[&str]) -> Message {
        let all = [
            &[FROM, "To: <sip:Bob@b.example>;tag=b;q", "CSeq: 7 INVITE"],
            headers,
        ]
        .concat();
        message("SIP/2.0 200 OK", &all)
    }

    fn text(message: &Message, name: Name) -> Vec<String> {
        message
            .headers(name)
            .map(|value| value.to_string())
            .collect()
    }

    /// As Teams sends it: the target is an opaque URI on another host and port than the route, and both stay as they are
    /// (TDR-309).
    const TEAMS: [&str; 2] = [
        "Contact: <sip:api-du-a.pstnhub.microsoft.com:443;x-i=1;X-C=aB/d>",
        "Record-Route: <sip:sip-du-a.pstnhub.microsoft.com:5061;transport=tls;lr>",
    ];

    /// RFC 3261 §12.2.1.1: From, To, Call-ID, routes and target come from the dialog; the number counts up.
    #[test]
    fn requests_of_the_caller() {
        let mut dialog = Dialog::uac(&invite(&[]), &answer(&TEAMS)).unwrap();
        let ack = dialog.ack(7).finish(None);
        let bye = dialog.request(Method::Bye).finish(None);
        assert_eq!(
            bye.request_uri(),
            "sip:api-du-a.pstnhub.microsoft.com:443;x-i=1;X-C=aB/d"
        );
        assert_eq!(
            text(&bye, Name::Route),
            [TEAMS[1].split_once(' ').unwrap().1]
        );
        assert_eq!(format!("From: {}", text(&bye, Name::From)[0]), FROM);
        assert_eq!(text(&bye, Name::To), ["<sip:Bob@b.example>;tag=b;q"]);
        assert_eq!(text(&bye, Name::CSeq), ["8 BYE"]);
        assert_eq!(text(&ack, Name::CSeq), ["7 ACK"]);
        assert_eq!(text(&bye, Name::MaxForwards), ["70"]);
        let hop = dialog.next_hop(Realm::Teams);
        assert_eq!(hop.host, "sip-du-a.pstnhub.microsoft.com");
        assert_eq!(
            (hop.port, hop.transport),
            (Some(5061), Some(Transport::Tls))
        );
        assert!(bye.check().is_err(), "the endpoint adds the Via");
    }

    /// The callee turns From and To round, and adds its own tag.
    #[test]
    fn requests_of_the_callee() {
        let routes = [
            "Record-Route: <sip:one;lr>, <sip:two;lr>",
            "Record-Route: <sip:three;lr>",
        ];
        let contact = "Contact: <sip:alice@192.0.2.1:5070>";
        let request = invite(&[routes[0], routes[1], contact]);
        let mut dialog = Dialog::uas(&request, "mine").unwrap();
        let bye = dialog.request(Method::Bye).finish(None);
        assert_eq!(text(&bye, Name::From), ["<sip:Bob@b.example>;tag=mine"]);
        assert_eq!(format!("From: {}", text(&bye, Name::To)[0]), FROM);
        assert_eq!(
            text(&bye, Name::Route),
            ["<sip:one;lr>", "<sip:two;lr>", "<sip:three;lr>"]
        );
        assert_eq!(text(&bye, Name::CSeq), ["1 BYE"]);
        let id = dialog.id();
        assert_eq!(
            (id.local_tag.as_str(), id.remote_tag.as_deref()),
            ("mine", Some("a"))
        );
        // The caller's routes are the other way round.
        let dialog = Dialog::uac(&invite(&[]), &answer(&[routes[0], routes[1], contact])).unwrap();
        assert_eq!(
            dialog.route_set(),
            ["<sip:three;lr>", "<sip:two;lr>", "<sip:one;lr>"]
        );
    }

    /// RFC 3261 §12.2.1.1: a strict router gets the Request-URI, and the target comes last among the routes.
    #[test]
    fn a_strict_router_is_obeyed() {
        let headers = [
            "Record-Route: <sip:b;lr>, <sip:a>",
            "Contact: <sip:bob@192.0.2.2;p>",
        ];
        let mut dialog = Dialog::uac(&invite(&[]), &answer(&headers)).unwrap();
        let bye = dialog.request(Method::Bye).finish(None);
        assert_eq!(bye.request_uri(), "sip:a");
        assert_eq!(
            text(&bye, Name::Route),
            ["<sip:b;lr>", "<sip:bob@192.0.2.2;p>"]
        );
        assert_eq!(dialog.next_hop(Realm::Trunk).host, "a");
    }

    /// RFC 3261 §12.2.2: an older number is refused, the same and a later one are not.
    #[test]
    fn requests_come_in_order() {
        let mut dialog = Dialog::uas(&invite(&["Contact: <sip:a>"]), "mine").unwrap();
        let bye = |number: u32| {
            message(
                "BYE sip:b SIP/2.0",
                &[FROM, TO, &format!("CSeq: {number} BYE")],
            )
        };
        assert_eq!(dialog.accept(&bye(9)), Ok(()));
        assert_eq!(
            dialog.accept(&bye(8)),
            Err(DialogError::OutOfOrder { found: 8, last: 9 })
        );
        assert_eq!(dialog.accept(&bye(9)), Ok(()));
        assert_eq!(dialog.remote_seq(), Some(9));
    }

    /// A re-INVITE moves the target, unless its Contact cannot be used; the routes stay.
    #[test]
    fn the_target_moves() {
        let mut dialog = Dialog::uas(&invite(&["Contact: <sip:a.example>"]), "mine").unwrap();
        dialog.refresh_target(&invite(&["Contact: <sip:b.example;transport=TCP>"]));
        let hop = dialog.next_hop(Realm::Trunk);
        assert_eq!(
            (hop.host.as_str(), hop.transport),
            ("b.example", Some(Transport::Tcp))
        );
        for unusable in [
            "Contact: <mailto:x@y>",
            "Contact: <sip:c;transport=ws>",
            "Subject: none",
        ] {
            dialog.refresh_target(&invite(&[unusable]));
            assert_eq!(dialog.remote_target(), "sip:b.example;transport=TCP");
        }
    }

    /// A 2xx brings the routes and the target that count; our numbers go on from where the early dialog had come to.
    #[test]
    fn a_2xx_confirms() {
        let mut dialog = Dialog::uac(&invite(&[]), &answer(&["Contact: <sip:early>"])).unwrap();
        dialog.request(Method::Update);
        dialog.confirm(&invite(&[]), &answer(&TEAMS)).unwrap();
        assert_eq!((dialog.local_seq(), dialog.route_set().len()), (8, 1));
        assert_eq!(
            text(&dialog.request(Method::Bye).finish(None), Name::CSeq),
            ["9 BYE"]
        );
    }

    /// `sips` and the transport parameter decide the transport; what cannot be followed makes no dialog.
    #[test]
    fn targets_that_lead_somewhere() {
        let next = |contact: &str| {
            let header = format!("Contact: {contact}");
            Dialog::uac(&invite(&[]), &answer(&[&header]))
                .map(|dialog| dialog.next_hop(Realm::Trunk))
        };
        assert_eq!(
            next("<sips:bob@b>").unwrap().transport,
            Some(Transport::Tls)
        );
        assert_eq!(
            next("sip:bob@b;transport=udp").unwrap().transport,
            None,
            "a header parameter"
        );
        assert_eq!(
            next("<sip:[2001:db8::1]:5062>").unwrap().host,
            "2001:db8::1"
        );
        for contact in ["<tel:+123>", "*", "<sip:b;transport=sctp>"] {
            assert!(
                matches!(next(contact), Err(DialogError::Unreachable(_))),
                "{contact}"
            );
        }
        assert_eq!(
            Dialog::uas(&invite(&[]), "x").unwrap_err(),
            DialogError::NoContact
        );
        let without = Dialog::uac(&invite(&[]), &answer(&[])).unwrap();
        assert_eq!(without.remote_target(), "sip:bob@b.example");
    }
}
