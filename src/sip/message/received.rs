use std::net::{IpAddr, SocketAddr};

use super::{Message, Name, Via, parse};

impl Message {
    /// The request as the transport hands it on: its topmost Via tells where it came from, so that every copy of
    /// it into a response does (RFC 3261 §18.2.1, RFC 3581 §4).
    ///
    /// `received` is added when the sent-by is not the source's address or when an `rport` asks for it, and the `rport`
    /// gets the source's port. Whatever the sender wrote into `received` is replaced. A message whose topmost Via cannot be
    /// read, or that would grow too long, stays as it is.
    pub fn received_from(self, source: SocketAddr) -> Self {
        self.stamped(source).unwrap_or(self)
    }

    fn stamped(&self, source: SocketAddr) -> Option<Self> {
        let value = self.values(Name::Via).next()?;
        let via = Via::parse(value.bytes()).ok()?;
        let address = source.ip().to_canonical();
        let differs = via.host.parse::<IpAddr>().ok() != Some(address);
        if !differs && via.received.is_none() && via.rport.is_none() {
            return None;
        }
        let at = value.bytes().as_ptr().addr() - self.buf.as_ptr().addr();
        let mut buf = Vec::with_capacity(self.buf.len() + 64);
        buf.extend_from_slice(&self.buf[..at + value.bytes().len() - via.params.raw().len()]);
        for part in via.params.parts().filter(|part| !is_ours(part)) {
            buf.push(b';');
            buf.extend_from_slice(part.as_bytes());
        }
        buf.extend_from_slice(format!(";received={address}").as_bytes());
        if via.rport.is_some() {
            buf.extend_from_slice(format!(";rport={}", source.port()).as_bytes());
        }
        buf.extend_from_slice(&self.buf[at + value.bytes().len()..]);
        let head = parse::head(&buf).ok()?;
        Some(Self {
            buf: buf.into(),
            head,
        })
    }
}

fn is_ours(part: &str) -> bool {
    let name = part.split('=').next().unwrap_or_default().trim_end();
    name.eq_ignore_ascii_case("received") || name.eq_ignore_ascii_case("rport")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn stamped(via: &str, source: &str) -> String {
        let text = format!("OPTIONS sip:a SIP/2.0\r\nv: {via}, SIP/2.0/TCP next\r\nl: 2\r\n\r\nok");
        let message = Message::parse(Bytes::from(text))
            .unwrap()
            .received_from(source.parse().unwrap());
        assert_eq!(
            Message::parse(message.bytes().clone()).unwrap().head,
            message.head
        );
        assert_eq!(message.values(Name::Via).count(), 2);
        assert_eq!(message.body(), "ok");
        message.values(Name::Via).next().unwrap().to_string()
    }

    #[test]
    fn a_via_tells_where_it_came_from() {
        let cases = [
            (
                "SIP/2.0/UDP 192.0.2.1;branch=1",
                "SIP/2.0/UDP 192.0.2.1;branch=1",
            ),
            (
                "SIP/2.0/UDP a.example",
                "SIP/2.0/UDP a.example;received=192.0.2.1",
            ),
            (
                "SIP/2.0/UDP 192.0.2.1;rport;branch=1",
                "SIP/2.0/UDP 192.0.2.1;branch=1;received=192.0.2.1;rport=5070",
            ),
            (
                "SIP/2.0/UDP b:1; branch = 1 ;Received=6.6.6.6",
                "SIP/2.0/UDP b:1;branch = 1;received=192.0.2.1",
            ),
        ];
        for (via, expected) in cases {
            assert_eq!(stamped(via, "192.0.2.1:5070"), expected);
        }
        assert_eq!(
            stamped("SIP/2.0/UDP a", "[2001:db8::1]:5"),
            "SIP/2.0/UDP a;received=2001:db8::1"
        );
        assert_eq!(
            stamped("SIP/2.0/UDP 192.0.2.1", "[::ffff:192.0.2.1]:5"),
            "SIP/2.0/UDP 192.0.2.1"
        );
    }
}
