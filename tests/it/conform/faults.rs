//! The table of faults: for each scenario what is wrong with the SBC, and the item that the scenario has to name.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::middle::{Flaw, To};

/// One thing that is wrong.
pub struct Fault {
    pub scenario: &'static str,
    pub item: &'static str,
    pub flaw: Flaw,
    /// What becomes of a message. The counter begins at 0 for every run.
    pub twist: fn(To, &str, &AtomicUsize) -> Vec<String>,
}

/// A connection of this kind, and messages as they are.
const fn flawed(scenario: &'static str, item: &'static str, flaw: Flaw) -> Fault {
    Fault {
        scenario,
        item,
        flaw,
        twist: |_, text, _| as_it_is(text),
    }
}

/// Messages that become others.
const fn twisted(
    scenario: &'static str,
    item: &'static str,
    twist: fn(To, &str, &AtomicUsize) -> Vec<String>,
) -> Fault {
    Fault {
        scenario,
        item,
        flaw: Flaw::Nothing,
        twist,
    }
}

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));

pub const FAULTS: &[Fault] = &[
    // The first in its laboratory, while no OPTIONS are in the past that are as they should be.
    twisted("options-out", "TDR-202", |to, text, _| match to {
        To::Teams if is(text, "OPTIONS ") => changed(text, "REFER", "PUBLISH"),
        _ => as_it_is(text),
    }),
    flawed("tls-in", "TDR-129", Flaw::WrongNameIn),
    flawed("tls-out", "TDR-129", Flaw::WrongNameOut),
    // The man in the middle lets everyone in.
    flawed("tls-strangers", "TDR-314", Flaw::Nothing),
    flawed("keep-alive", "TDR-143", Flaw::NoKeepAlives),
    flawed("unknown-source", "TDR-105", Flaw::Refuses(SOURCE)),
    twisted("invite", "TDR-406", |to, text, _| match to {
        To::Teams if is(text, "INVITE ") => changed(text, ";user=phone", ""),
        _ => as_it_is(text),
    }),
    twisted("answers", "TDR-403", |to, text, _| match to {
        To::Teams if is(text, "SIP/2.0 180") => at_an_address(text),
        _ => as_it_is(text),
    }),
    twisted("unknown-method", "TDR-511", |to, text, _| match to {
        To::Teams if is(text, "SIP/2.0 405") => without(text, "Allow:"),
        _ => as_it_is(text),
    }),
    twisted("own-offer", "TDR-832", |to, text, _| match to {
        To::Teams if is(text, "INVITE ") => changed(text, "|2^31", ""),
        _ => as_it_is(text),
    }),
    twisted("worst-offer", "TDR-819", |to, text, _| match to {
        To::Teams if answers(text, 200, "INVITE") => {
            changed(text, "a=ptime:20", "a=ice-ufrag:Xy12\r\na=ptime:20")
        }
        _ => as_it_is(text),
    }),
    twisted("key-identifier", "TDR-832", |to, text, _| match to {
        To::Sbc if is(text, "INVITE ") => changed(text, "|2^31|1:1", "|2^31"),
        _ => as_it_is(text),
    }),
    twisted("plain-rtp", "TDR-830", |to, text, _| match to {
        To::Teams => changed(text, "SIP/2.0 488 ", "SIP/2.0 500 "),
        To::Sbc => as_it_is(text),
    }),
    twisted("sound", "TDR-830", |to, text, _| match to {
        To::Teams if answers(text, 200, "INVITE") => other_key(text),
        _ => as_it_is(text),
    }),
    twisted("digits", "TDR-813", |to, text, _| match to {
        To::Teams => changed(text, "telephone-event/8000", "telephone-nonevent/8000"),
        To::Sbc => as_it_is(text),
    }),
    twisted("rtcp-mux", "TDR-816", |to, text, _| match to {
        To::Teams if answers(text, 200, "INVITE") => without(text, "a=rtcp-mux"),
        _ => as_it_is(text),
    }),
    twisted("rtcp-port", "TDR-816", |to, text, _| match to {
        To::Teams if answers(text, 200, "INVITE") => {
            changed(text, "a=ptime:20", "a=rtcp-mux\r\na=ptime:20")
        }
        _ => as_it_is(text),
    }),
    twisted("ringing", "TDR-508", |to, text, _| match to {
        To::Teams if is(text, "SIP/2.0 180") => Vec::new(),
        _ => as_it_is(text),
    }),
    twisted("early-media", "TDR-508", |to, text, _| match to {
        To::Teams if is(text, "SIP/2.0 183") => bodiless(text),
        _ => as_it_is(text),
    }),
    // An SBC that makes nothing of a 183.
    twisted("silent-progress", "TDR-505", |to, text, _| match to {
        To::Sbc if is(text, "SIP/2.0 183") => Vec::new(),
        _ => as_it_is(text),
    }),
    twisted("forks", "TDR-504", |to, text, _| match to {
        To::Teams if is(text, "ACK ") => vec![of_another_fork(text)],
        _ => as_it_is(text),
    }),
    twisted("busy", "TDR-518", |to, text, _| match to {
        To::Teams => changed(text, "SIP/2.0 486 ", "SIP/2.0 503 "),
        To::Sbc => as_it_is(text),
    }),
    twisted("cancel", "TDR-517", |to, text, _| match to {
        To::Teams => changed(text, "SIP/2.0 487 ", "SIP/2.0 480 "),
        To::Sbc => as_it_is(text),
    }),
    twisted("refusal", "TDR-213", |to, text, _| match to {
        To::Teams => called_again(text),
        To::Sbc => as_it_is(text),
    }),
    twisted("refresh", "TDR-834", |to, text, _| match to {
        To::Teams if answers(text, 200, "INVITE") && sequence(text) > 1 => other_key(text),
        _ => as_it_is(text),
    }),
    twisted("hold", "TDR-604", |to, text, _| match to {
        To::Teams => changed(text, "a=inactive", "a=sendrecv"),
        To::Sbc => as_it_is(text),
    }),
    twisted("address", "TDR-804", |to, text, _| match to {
        To::Teams if answers(text, 200, "INVITE") && sequence(text) == 2 => other_port(text),
        _ => as_it_is(text),
    }),
    twisted("rekey", "TDR-834", |to, text, _| match to {
        To::Sbc if is(text, "INVITE ") && sequence(text) == 2 => other_key(text),
        _ => as_it_is(text),
    }),
    twisted("transfer", "TDR-702", |to, text, _| match to {
        To::Teams => changed(text, "SIP/2.0 202 Accepted", "SIP/2.0 200 OK"),
        To::Sbc => as_it_is(text),
    }),
    twisted("transfer-number", "TDR-703", |to, text, _| match to {
        To::Teams if is(text, "INVITE sip:+14255550177@") => Vec::new(),
        _ => as_it_is(text),
    }),
    twisted("transfer-consult", "TDR-706", |to, text, _| match to {
        To::Teams if is(text, "INVITE ") => changed(text, "aHR0cHM6Ly9", "ahr0chm6ly9"),
        _ => as_it_is(text),
    }),
    twisted("transfer-held", "TDR-608", |to, text, _| match to {
        To::Teams if is(text, "INVITE ") => changed(text, "a=sendrecv", "a=inactive"),
        _ => as_it_is(text),
    }),
    twisted("transfer-fails", "TDR-709", |to, text, _| match to {
        To::Teams if is(text, "NOTIFY ") => {
            changed(text, "SIP/2.0 486 Busy Here", "SIP/2.0 200 OK")
        }
        _ => as_it_is(text),
    }),
    twisted("hold-refer", "TDR-706", |to, text, _| match to {
        To::Teams if is(text, "INVITE ") => {
            changed(text, "x-m=28:Music-On-Hold", "x-m=28:music-on-hold")
        }
        _ => as_it_is(text),
    }),
    twisted("replaces", "TDR-711", |to, text, _| match to {
        To::Teams if is(text, "BYE ") => Vec::new(),
        _ => as_it_is(text),
    }),
    twisted("replaces-unknown", "TDR-711", |to, text, _| match to {
        To::Teams => changed(text, "SIP/2.0 481 ", "SIP/2.0 404 "),
        To::Sbc => as_it_is(text),
    }),
    // What a reader makes of `#` who takes it for the beginning of a fragment.
    twisted("feature-code", "TDR-302", |to, text, _| match to {
        To::Sbc if is(text, "INVITE ") => changed(text, "sip:*21#@", "sip:*21@"),
        _ => as_it_is(text),
    }),
    twisted("emergency", "TDR-1001", |to, text, _| match to {
        To::Sbc if is(text, "INVITE ") => changed(text, "sip:911@", "sip:+911@"),
        _ => as_it_is(text),
    }),
    twisted("location", "TDR-1002", |to, text, _| match to {
        To::Teams if answers(text, 200, "INVITE") => {
            changed(text, "SIP/2.0 200 OK", "SIP/2.0 415 Unsupported Media Type")
        }
        _ => as_it_is(text),
    }),
    twisted("unknown-host", "TDR-301", |to, text, _| match to {
        To::Sbc if is(text, "INVITE ") => changed(text, "@nobody.", "@contoso."),
        _ => as_it_is(text),
    }),
    twisted("unknown-caller", "TDR-313", |to, text, _| match to {
        To::Teams => changed(text, "SIP/2.0 403 ", "SIP/2.0 480 "),
        To::Sbc => as_it_is(text),
    }),
    // The SBC sees one of its own numbers in place of the other's.
    twisted("isolation", "TDR-1212", |to, text, _| match to {
        To::Sbc if is(text, "INVITE ") => changed(text, "+14255550300", "+14255550100"),
        _ => as_it_is(text),
    }),
    twisted("closed-connection", "TDR-140", |to, text, _| match to {
        To::Teams if is(text, "BYE ") => Vec::new(),
        _ => as_it_is(text),
    }),
    twisted("other-connection", "TDR-142", |to, text, _| match to {
        To::Teams if answers(text, 200, "INVITE") && sequence(text) > 1 => changed(
            text,
            "SIP/2.0 200 OK",
            "SIP/2.0 481 Call/Transaction Does Not Exist",
        ),
        _ => as_it_is(text),
    }),
    twisted("no-ack", "TDR-514", |to, text, count| match to {
        To::Teams if answers(text, 200, "INVITE") && count.fetch_add(1, Ordering::Relaxed) > 0 => {
            Vec::new()
        }
        _ => as_it_is(text),
    }),
    twisted("options-in", "TDR-207", |to, text, _| match to {
        To::Teams if answers(text, 200, "OPTIONS") => without(text, "Allow:"),
        _ => as_it_is(text),
    }),
    twisted("slow-proxy", "TDR-213", |to, text, _| match to {
        To::Teams => called_again(text),
        To::Sbc => as_it_is(text),
    }),
    // An SBC that takes 503 for the end of the call.
    twisted("busy-proxy", "TDR-212", |to, text, _| match to {
        To::Sbc => changed(text, "SIP/2.0 503 ", "SIP/2.0 480 "),
        To::Teams => as_it_is(text),
    }),
    // Two that never try another proxy: only the call passes that finds out which is the first.
    twisted("gone-proxy", "TDR-211", |to, text, count| match to {
        To::Teams => first_call(text, count),
        To::Sbc => as_it_is(text),
    }),
    twisted("deaf-proxy", "TDR-213", |to, text, count| match to {
        To::Teams => first_call(text, count),
        To::Sbc => as_it_is(text),
    }),
    twisted("ice-lite", "TDR-840", |to, text, _| match to {
        To::Teams => without(text, "a=ice-lite"),
        To::Sbc => as_it_is(text),
    }),
    twisted("ice-checks", "TDR-840", |to, text, _| match to {
        To::Teams if answers(text, 200, "INVITE") => other_password(text),
        _ => as_it_is(text),
    }),
    twisted("ice-nomination", "TDR-843", |to, text, _| match to {
        To::Teams if answers(text, 200, "INVITE") => other_password(text),
        _ => as_it_is(text),
    }),
    twisted("ice-forks", "TDR-842", |to, text, _| match to {
        To::Teams if is(text, "INVITE ") => other_password(text),
        _ => as_it_is(text),
    }),
    twisted("ice-restart", "TDR-844", |to, text, _| match to {
        To::Teams if answers(text, 200, "INVITE") && sequence(text) > 1 => {
            changed(text, " typ host", " typ host generation 1")
        }
        _ => as_it_is(text),
    }),
];

/// The password of ICE begins with another letter than the SBC's.
fn other_password(text: &str) -> Vec<String> {
    const START: &str = "a=ice-pwd:";
    let Some((before, password)) = text.split_once(START) else {
        return as_it_is(text);
    };
    let other = if password.starts_with('A') { "B" } else { "A" };
    vec![format!("{before}{START}{other}{}", &password[1..])]
}

fn as_it_is(text: &str) -> Vec<String> {
    vec![text.to_owned()]
}

fn is(text: &str, start: &str) -> bool {
    text.starts_with(start)
}

fn cseq(text: &str) -> Option<(usize, &str)> {
    let line = text.lines().find_map(|line| line.strip_prefix("CSeq:"))?;
    let (number, method) = line.trim().split_once(' ')?;
    Some((number.parse().ok()?, method.trim()))
}

fn sequence(text: &str) -> usize {
    cseq(text).map_or(0, |(number, _)| number)
}

fn answers(text: &str, status: u16, method: &str) -> bool {
    is(text, &format!("SIP/2.0 {status} ")) && cseq(text).is_some_and(|(_, m)| m == method)
}

fn changed(text: &str, from: &str, to: &str) -> Vec<String> {
    vec![text.replace(from, to)]
}

/// The Contact names an address instead of the gateway.
fn at_an_address(text: &str) -> Vec<String> {
    let lines = text
        .split("\r\n")
        .map(|line| match line.starts_with("Contact:") {
            true => line.replace("contoso.sbc1.tollgate.test", "203.0.113.9"),
            false => line.to_owned(),
        });
    vec![lines.collect::<Vec<_>>().join("\r\n")]
}

/// Without the lines that begin so.
fn without(text: &str, start: &str) -> Vec<String> {
    let lines = text.split("\r\n").filter(|line| !line.starts_with(start));
    vec![lines.collect::<Vec<_>>().join("\r\n")]
}

fn bodiless(text: &str) -> Vec<String> {
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    let head = without(head, "Content-Type:").join("");
    vec![format!("{head}\r\n\r\n")]
}

/// Every key begins with another letter.
fn other_key(text: &str) -> Vec<String> {
    let mut parts = text.split("inline:");
    let mut changed = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let other = if part.starts_with('A') { "B" } else { "A" };
        changed += &format!("inline:{other}{}", part.get(1..).unwrap_or_default());
    }
    vec![changed]
}

/// The stream is at another port, two further on.
fn other_port(text: &str) -> Vec<String> {
    let lines = text.split("\r\n").map(|line| {
        let (port, rest) = line.strip_prefix("m=audio ")?.split_once(' ')?;
        let port: u16 = port.parse().ok()?;
        Some(format!("m=audio {} {rest}", port + 2))
    });
    let lines = lines.zip(text.split("\r\n"));
    let lines = lines.map(|(changed, line)| changed.unwrap_or_else(|| line.to_owned()));
    vec![lines.collect::<Vec<_>>().join("\r\n")]
}

/// To has a tag that nobody gave.
fn of_another_fork(text: &str) -> String {
    let lines = text
        .split("\r\n")
        .map(|line| match line.split_once(";tag=") {
            Some((to, _)) if to.starts_with("To:") => format!("{to};tag=another"),
            _ => line.to_owned(),
        });
    lines.collect::<Vec<_>>().join("\r\n")
}

/// An INVITE that starts a call, and the same once more.
fn called_again(text: &str) -> Vec<String> {
    let starts = is(text, "INVITE ")
        && !text
            .lines()
            .any(|l| l.starts_with("To:") && l.contains(";tag="));
    if !starts {
        return as_it_is(text);
    }
    let again = text
        .replace("Call-ID: ", "Call-ID: again-")
        .replace("branch=z9hG4bK", "branch=z9hG4bKagain");
    vec![text.to_owned(), again]
}

/// Of all INVITEs the first alone.
fn first_call(text: &str, count: &AtomicUsize) -> Vec<String> {
    if is(text, "INVITE ") && count.fetch_add(1, Ordering::Relaxed) > 0 {
        return Vec::new();
    }
    as_it_is(text)
}
