//! What the two sides of a call know of each other (RFC 3261 §12), as an emulated party keeps it.

use super::message::{Draft, Message, tag_of, uri_of};

/// One dialog.
#[derive(Debug, Clone)]
pub struct Dialog {
    /// The same on both sides.
    pub call_id: String,
    /// Our From in requests, with its tag.
    pub local: String,
    /// Our To in requests, with its tag once it is known.
    pub remote: String,
    /// The peer's Contact URI, byte for byte.
    pub remote_target: String,
    /// The values of Route headers, in their order.
    pub routes: Vec<String>,
    /// CSeq of our last request.
    pub sequence: u32,
    /// CSeq of the peer's last request.
    pub remote_sequence: u32,
}

impl Dialog {
    /// For a request of ours without an answer yet.
    pub fn calling(call_id: &str, from: &str, to: &str, uri: &str) -> Self {
        Self {
            call_id: call_id.to_owned(),
            local: format!("{from};tag={:08x}", rand::random::<u32>()),
            remote: to.to_owned(),
            remote_target: uri.to_owned(),
            routes: Vec::new(),
            sequence: 0,
            remote_sequence: 0,
        }
    }

    /// RFC 3261 §12.1.1, with our tag.
    pub fn called(invite: &Message, tag: &str) -> Self {
        Self {
            call_id: invite.call_id().to_owned(),
            local: format!("{};tag={tag}", invite.header("To").unwrap_or_default()),
            remote: invite.header("From").unwrap_or_default().to_owned(),
            remote_target: invite
                .header("Contact")
                .map(uri_of)
                .unwrap_or_default()
                .to_owned(),
            routes: routes(invite),
            sequence: 0,
            remote_sequence: invite.sequence(),
        }
    }

    /// RFC 3261 §12.1.2: a 2xx decides the peer's tag, target and the route set.
    pub fn confirm(&mut self, response: &Message) {
        self.remote = response.header("To").unwrap_or_default().to_owned();
        self.routes = routes(response);
        self.routes.reverse();
        self.refresh(response);
    }

    /// RFC 3261 §12.2: an INVITE or its 2xx may move the peer's target.
    pub fn refresh(&mut self, message: &Message) {
        if let Some(contact) = message.header("Contact") {
            self.remote_target = uri_of(contact).to_owned();
        }
    }

    /// RFC 3261 §12.2.1.1, loose routing. ACK and CANCEL take the CSeq they belong to.
    pub fn request(&mut self, method: &str, sequence: Option<u32>) -> Draft {
        let number = sequence.unwrap_or(self.sequence + 1);
        self.sequence = self.sequence.max(number);
        let mut draft = Draft::request(method, &self.remote_target);
        for route in &self.routes {
            draft.push("Route", route);
        }
        draft
            .push("From", &self.local)
            .push("To", &self.remote)
            .push("Call-ID", &self.call_id);
        draft
            .push("CSeq", format!("{number} {method}"))
            .push("Max-Forwards", "70");
        draft
    }

    /// The URI whose host a request goes to.
    pub fn next_hop(&self) -> &str {
        self.routes
            .first()
            .map_or(&self.remote_target, |route| uri_of(route))
    }

    /// Whether a request names this dialog.
    pub fn includes(&self, request: &Message) -> bool {
        let tag = |name| request.header(name).and_then(tag_of);
        tag("To") == tag_of(&self.local) && tag("From") == tag_of(&self.remote)
    }
}

fn routes(message: &Message) -> Vec<String> {
    message
        .all("Record-Route")
        .flat_map(|line| line.split(','))
        .map(|value| value.trim().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The caller reverses the recorded route, the called side keeps it; both go to its nearest hop.
    #[test]
    fn routes_lead_back_the_way_they_came() {
        let text = "From: <sip:a>;tag=1\r\nTo: <sip:b>;tag=2\r\nCall-ID: c\r\nCSeq: 4 INVITE\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n\
            Record-Route: <sip:one;lr>,<sip:two;lr>\r\nContact: <sip:x@h;opaque=Zz>\r\n\r\n";
        let request =
            Message::parse(format!("INVITE sip:b SIP/2.0\r\n{text}").as_bytes(), false).unwrap();
        let response =
            Message::parse(format!("SIP/2.0 200 OK\r\n{text}").as_bytes(), false).unwrap();
        let mut caller = Dialog::calling("c", "<sip:a>", "<sip:b>", "sip:b");
        caller.confirm(&response);
        let called = Dialog::called(&request, "2");
        assert_eq!(
            (caller.next_hop(), called.next_hop()),
            ("sip:two;lr", "sip:one;lr")
        );
        let bye = Message::parse(
            &caller
                .request("BYE", None)
                .print(Some("SIP/2.0/UDP a;branch=z9hG4bK2"), false),
            true,
        )
        .unwrap();
        assert_eq!(
            (bye.uri(), bye.sequence(), bye.header("To")),
            ("sip:x@h;opaque=Zz", 1, Some("<sip:b>;tag=2"))
        );
    }
}
