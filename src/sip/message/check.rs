use super::line::Line;
use super::{HeaderError, Message, Method, Name, NameAddr, Uri, Value, Via};

/// RFC 3261 §20 allows one of each.
const SINGLE: [Name; 6] = [
    Name::From,
    Name::To,
    Name::CallId,
    Name::CSeq,
    Name::MaxForwards,
    Name::ContentType,
];

impl Message {
    /// What must hold before anything else looks at a message: the headers that every message carries are there,
    /// once, and can be read (RFC 3261 §8.1.1, §8.2.2, §16.3). Every Via can be read, so that a response finds
    /// back; in requests the Request-URI is sound, the CSeq names the method, and Contacts, Routes and Record-Routes can be read.
    ///
    /// A From without tag, and a request without Max-Forwards, pass: RFC 2543 knew neither.
    pub fn check(&self) -> Result<(), HeaderError> {
        let (present, repeated) = self.names();
        if let Some(name) = SINGLE.into_iter().find(|name| repeated & bit(*name) != 0) {
            return Err(HeaderError::new(name, "is there twice"));
        }
        self.via()?;
        for via in self.values(Name::Via).skip(1) {
            Via::parse(via.bytes()).map_err(|error| error.of(Name::Via))?;
        }
        self.call_id()?;
        address(Name::From, self.from()?)?;
        address(Name::To, self.to()?)?;
        self.max_forwards()?;
        let (_, method) = self.cseq_parts()?;
        if !self.is_request() {
            return Ok(());
        }
        if method != self.method_text() {
            return Err(HeaderError::new(
                Name::CSeq,
                "names another method than the request",
            ));
        }
        self.check_request_uri()?;
        let addresses = [Name::Contact, Name::Route, Name::RecordRoute];
        for name in addresses
            .into_iter()
            .filter(|name| present & bit(*name) != 0)
        {
            for value in self.values(name) {
                self.check_address(name, value)?;
            }
        }
        Ok(())
    }

    /// Which known headers are there, and which of them more than once: a bit for each.
    fn names(&self) -> (u128, u128) {
        let known = self
            .head
            .lines
            .iter()
            .filter(|line| line.known != Line::UNKNOWN);
        known.fold((0, 0), |(present, repeated), line| {
            let bit = 1 << line.known;
            (present | bit, repeated | (present & bit))
        })
    }

    /// RFC 3261 §19.1.1: a Request-URI carries no headers; ones that it smuggles in must never become real.
    fn check_request_uri(&self) -> Result<(), HeaderError> {
        let error = |rule| HeaderError::new(Name::RequestUri, rule);
        let uri = Uri::parse(self.request_uri()).map_err(|reason| error(reason.0))?;
        if uri.headers.is_some() {
            return Err(error("carries headers"));
        }
        Ok(())
    }

    /// `*` stands for all contacts of a REGISTER, and nowhere else (RFC 3261 §10.2.2).
    fn check_address(&self, name: Name, value: Value<'_>) -> Result<(), HeaderError> {
        let parsed = NameAddr::parse_bytes(value.0).map_err(|error| error.of(name))?;
        if name == Name::Contact && self.method() == Method::Register && parsed.uri == "*" {
            return Ok(());
        }
        address(name, parsed)
    }
}

fn bit(name: Name) -> u128 {
    1 << name.known()
}

fn address(name: Name, parsed: NameAddr<'_>) -> Result<(), HeaderError> {
    Uri::parse(parsed.uri)
        .map(drop)
        .map_err(|error| HeaderError::new(name, error.0))
}
