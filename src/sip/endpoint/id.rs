//! What tells transactions apart.

use crate::sip::{Message, Method, Name, Via};

/// RFC 3261 §8.1.1.7: what every branch of our time starts with.
pub(super) const MAGIC_COOKIE: &str = "z9hG4bK";

/// RFC 3261 §17.1.3 and §17.2.3: branch, sent-by and method in one string of bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TransactionId(Box<[u8]>);

impl TransactionId {
    /// Of a transaction of ours. `method` tells a CANCEL from its INVITE, whose branch it shares.
    pub fn client(branch: &str, method: Method) -> Self {
        Self([branch.as_bytes(), &[0, method as u8]].concat().into())
    }

    /// Of a peer's request. Without the magic cookie the branch proves nothing; then, as in RFC 2543, the call, the
    /// number and the whole Via decide.
    pub fn server(request: &Message, via: &Via<'_>, method: Method) -> Self {
        let port = via.port.unwrap_or_default().to_be_bytes();
        let end = [0, method as u8, port[0], port[1]];
        match via.branch.filter(|branch| is_modern(branch)) {
            Some(branch) => {
                let mut id = [branch.as_bytes(), &[0], via.host.as_bytes(), &end].concat();
                id.make_ascii_lowercase();
                Self(id.into())
            }
            None => {
                let cseq = request.cseq().map_or(0, |cseq| cseq.number).to_be_bytes();
                let call_id = request
                    .header(Name::CallId)
                    .map(|value| value.bytes())
                    .unwrap_or_default();
                let from_tag = request.from_tag().unwrap_or_default().as_bytes();
                let branch = via.branch.unwrap_or_default().as_bytes();
                let parts = [call_id, from_tag, branch, via.host.as_bytes(), &cseq];
                Self([parts.join(&0), end.to_vec()].concat().into())
            }
        }
    }
}

fn is_modern(branch: &str) -> bool {
    let cookie = branch.get(..MAGIC_COOKIE.len());
    cookie.is_some_and(|cookie| cookie.eq_ignore_ascii_case(MAGIC_COOKIE))
        && branch.len() > MAGIC_COOKIE.len()
}

/// What all copies of a request share that came by different ways (RFC 3261 §8.2.2.2), and the ACK of a 2xx with its
/// INVITE (RFC 3261 §13.3.1.4).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Origin(Box<[u8]>);

impl Origin {
    pub fn of(request: &Message, method: Method) -> Self {
        let cseq = request.cseq().map_or(0, |cseq| cseq.number);
        Self::numbered(request, method, cseq)
    }

    /// The same of another request in the same call, with its number.
    pub fn numbered(request: &Message, method: Method, cseq: u32) -> Self {
        let call_id = request
            .header(Name::CallId)
            .map(|value| value.bytes())
            .unwrap_or_default();
        let from_tag = request.from_tag().unwrap_or_default().as_bytes();
        let cseq = cseq.to_be_bytes();
        Self(
            [call_id, &[0], from_tag, &[0], &cseq, &[method as u8]]
                .concat()
                .into(),
        )
    }
}
