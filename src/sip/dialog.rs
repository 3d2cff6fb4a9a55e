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
