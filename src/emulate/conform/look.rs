//! Looking at messages: their headers, their descriptions, and the line that is to blame.

use crate::emulate::message::{Message, host_of, parameter, uri_of};
use crate::emulate::sdp::Sdp;
use crate::emulate::{EmuCall, Traced, Way};

/// A traced message, read again.
pub(super) fn read(text: &str) -> Option<Message> {
    Message::parse(text.as_bytes(), true).ok()
}

/// What the SBC sent on one leg, oldest first.
pub(super) fn from_sbc(call: &EmuCall) -> Vec<Message> {
    received(&call.messages())
}

/// Those of these messages that the SBC sent.
pub(super) fn received(messages: &[Traced]) -> Vec<Message> {
    messages
        .iter()
        .filter(|m| m.way == Way::In)
        .filter_map(|m| read(&m.text))
        .collect()
}

/// Whether a message is a response with this status to a request of this method.
pub(super) fn answers(message: &Message, status: u16, method: &str) -> bool {
    message.status() == Some(status) && message.method() == method
}

/// The header's line as evidence.
pub(super) fn line(message: &Message, name: &str) -> String {
    match message.header(name) {
        Some(value) => format!("\"{name}: {value}\" in \"{}\"", message.first_line()),
        None => format!("no {name} in \"{}\"", message.first_line()),
    }
}

/// The host of a header that holds a URI; empty if it is missing.
pub(super) fn host(message: &Message, name: &str) -> String {
    message
        .header(name)
        .map(|value| host_of(uri_of(value)).0)
        .unwrap_or_default()
}

/// The value of a URI's parameter.
pub(super) fn uri_parameter<'a>(uri: &'a str, name: &str) -> Option<&'a str> {
    let place = uri.rsplit_once('@').map_or(uri, |(_, place)| place);
    parameter(place, name)
}

/// A message's description as text.
pub(super) fn description(message: &Message) -> String {
    String::from_utf8_lossy(&message.body).into_owned()
}

/// The same, read.
pub(super) fn sdp(message: &Message) -> Option<Sdp> {
    Sdp::parse(&message.body).ok()
}

/// The lines of a description that begin so, as evidence.
pub(super) fn lines(description: &str, start: &str) -> String {
    let found: Vec<_> = description
        .lines()
        .filter(|line| line.starts_with(start))
        .collect();
    if found.is_empty() {
        format!("no line {start}…")
    } else {
        format!("\"{}\"", found.join("\", \""))
    }
}

/// The last thing that the SBC said on a leg, as evidence of why a call did not come about.
pub(super) fn last_word(call: &EmuCall) -> String {
    let Some(last) = from_sbc(call).pop() else {
        return "not one message on that leg".to_owned();
    };
    let mut said = format!("\"{}\"", last.first_line());
    for name in ["Reason", "Warning", "Retry-After"] {
        if let Some(value) = last.header(name) {
            said += &format!(", \"{name}: {value}\"");
        }
    }
    said
}

/// The host of a URI.
pub(super) fn host_of_uri(uri: &str) -> String {
    host_of(uri).0
}
