//! What a request may require of us (RFC 3261 §8.2.2.3): one that requires more is refused with 420, whose Unsupported
//! names all that is too much.

use super::leg::Peer;
use super::reliable;
use crate::sip::{Message, Method, Name};

/// Extensions that any request may require.
const SUPPORTED: [&str; 2] = ["timer", "replaces"];
/// What a REFER may require besides: that it makes no subscription (RFC 4488).
const NO_SUBSCRIPTION: &str = "norefersub";
/// Flows of a device (RFC 5626), which a REGISTER may require.
pub(super) const OUTBOUND: &str = "outbound";
/// So many are named to the peer; it knows the others itself.
const MOST_NAMED: usize = 8;

/// What a request requires and this peer does not get, as the value of Unsupported; none if there is no such thing.
pub(super) fn unsupported(request: &Message, peer: Option<&Peer>) -> Option<String> {
    let is_supported = |name: &str| {
        SUPPORTED.iter().any(|s| s.eq_ignore_ascii_case(name))
            || name.eq_ignore_ascii_case(reliable::EXTENSION)
                && peer.is_some_and(Peer::knows_reliable)
            || name.eq_ignore_ascii_case(NO_SUBSCRIPTION) && request.method() == Method::Refer
            || name.eq_ignore_ascii_case(OUTBOUND) && request.method() == Method::Register
    };
    let required = request.values(Name::Require);
    let names = required.map(|value| value.text().unwrap_or("?").to_owned());
    let names: Vec<_> = names
        .filter(|name| !is_supported(name))
        .take(MOST_NAMED)
        .collect();
    (!names.is_empty()).then(|| names.join(", "))
}
