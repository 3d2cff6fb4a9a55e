//! Messages that others wrote to be hard to read: RFC 4475, RFC 5118, the suites of other stacks, PROTOS; and what
//! Teams was seen to send.
#![allow(clippy::unwrap_used)] // not all of a test is inside #[test]

use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use serde_json::Value as Json;
use tollgate::sip::framing::{Frame, StreamFramer};
use tollgate::sip::{Builder, Message, Name};

use crate::corpora;
use crate::messages::{message, stream};

/// The message, if it passes the parser and the check.
fn accepted(bytes: &[u8]) -> Option<Message> {
    Message::parse_datagram(Bytes::copy_from_slice(bytes))
        .ok()
        .filter(|message| message.check().is_ok())
}

/// Each case of RFC 4475 and RFC 5118 with the answers that a server may give.
fn cases() -> Vec<(Json, Vec<u8>)> {
    let mut found = Vec::new();
    for suite in ["rfc4475", "rfc5118"] {
        let Some(folder) = corpora::find("torture") else {
            return found;
        };
        let text = std::fs::read(folder.join(suite).join("expected.json")).unwrap();
        let expected: Json = serde_json::from_slice(&text).unwrap();
        for case in expected["messages"].as_array().unwrap() {
            let bytes = std::fs::read(folder.join(case["file"].as_str().unwrap())).unwrap();
            found.push((case.clone(), bytes));
        }
    }
    assert!(found.len() > 60);
    found
}

/// Whether one of these answers is allowed.
fn allows(answers: &Json, answer: &str) -> bool {
    let lists = [&answers["preferred"], &answers["acceptable"]];
    lists
        .iter()
        .filter_map(|list| list.as_array())
        .flatten()
        .any(|given| given.to_string().trim_matches('"') == answer)
}

/// A valid message is read unless the verdict allows 400; an invalid one is refused unless it allows to accept it.
#[test]
fn torture_gets_the_verdicts_of_its_rfcs() {
    for (case, bytes) in cases() {
        let (id, answers) = (&case["id"], &case["uas"]);
        match (accepted(&bytes), case["validity"] == "valid") {
            (None, true) => assert!(
                allows(answers, "400"),
                "{id} is valid: {:?}",
                Message::parse_datagram(bytes.into()).map(|m| m.check())
            ),
            (Some(_), false) => assert!(allows(answers, "accepted"), "{id} is invalid"),
            _ => {}
        }
    }
}

/// The laxest reading is no goal: of the invalid requests only those pass that cannot be misread.
#[test]
fn invalid_requests_that_pass_are_known() {
    let passing = cases()
        .into_iter()
        .filter(|(case, bytes)| case["validity"] == "invalid" && accepted(bytes).is_some());
    let ids: Vec<_> = passing
        .map(|(case, _)| case["id"].as_str().unwrap().to_owned())
        .collect();
    if corpora::find("torture").is_some() {
        assert_eq!(ids, ["rfc4475/badbranch", "rfc4475/baddate"]);
    }
}

/// Wherever an answer of 400 or 505 is what the RFCs prefer, enough of the request is read to write it.
#[test]
fn what_is_refused_can_be_answered() {
    for (case, bytes) in cases() {
        let wanted = ["400", "505"]
            .iter()
            .any(|code| case["uas"]["preferred"].to_string().contains(code));
        if case["kind"] != "request" || !wanted || accepted(&bytes).is_some() {
            continue;
        }
        let Some(rest) = Message::salvage(Bytes::from(bytes)) else {
            let id = case["id"].as_str().unwrap();
            assert!(
                [
                    "rfc4475/lwsruri",
                    "rfc4475/lwsstart",
                    "rfc4475/trws",
                    "rfc4475/test"
                ]
                .contains(&id),
                "{id}"
            );
            continue;
        };
        let response = Builder::response(&rest, 400, "").finish(None);
        assert!(Message::parse(response.bytes().clone()).is_ok());
        assert!(
            response.headers(Name::Via).eq(rest.headers(Name::Via))
                && rest.header(Name::Via).is_some()
        );
    }
}

/// On a stream a wrong length ends the connection, and a long one waits.
#[test]
fn torture_on_a_stream() {
    for (case, bytes) in cases()
        .into_iter()
        .filter(|(case, _)| case["stream_expect"].is_object())
    {
        let mut framer = StreamFramer::new();
        framer.push(&bytes);
        let verdict = match framer.next() {
            None => "none",
            Some(Err(_)) => "closed",
            Some(Ok(Frame::Message(_))) => "accepted",
            Some(Ok(_)) => "keep-alive",
        };
        assert!(
            allows(&case["stream_expect"], verdict),
            "{}: {verdict}",
            case["id"]
        );
    }
}

#[test]
fn all_that_teams_sends_is_read() {
    for path in corpora::files("teams", ".sip") {
        let bytes = std::fs::read(&path).unwrap();
        let message = accepted(&bytes).unwrap_or_else(|| panic!("{} is refused", path.display()));
        assert_eq!(message.bytes(), &bytes, "{}", path.display());
        message::check(&bytes);
        assert!(message.call_id().is_ok() && message.from_tag().is_some());
    }
}

/// The suites of other stacks hold what broke them once.
#[test]
fn other_stacks_malformed_messages_are_survived() {
    for path in [
        corpora::files("malformed", ".sip"),
        corpora::files("torture", ".sip"),
    ]
    .concat()
    {
        let bytes = std::fs::read(&path).unwrap();
        message::check(&bytes);
        stream::check(&bytes);
    }
}

/// 4,527 INVITEs with one field out of bounds each, and what tears their transactions down.
#[test]
fn protos_is_survived() {
    let Some(path) = corpora::find("malformed/protos-c07-sip-r2/testcases.zip") else {
        return;
    };
    let mut archive = zip::ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap();
    let fill = [
        ("<To>", "bob@b.example"),
        ("<From>", "ann@a.example"),
        ("<From-Address>", "a.example"),
        ("<From-IP>", "192.0.2.1"),
        ("<Local-Port>", "5060"),
        ("<Call-ID>", "1"),
        ("<CSeq>", "1"),
        ("<Branch-ID>", "z9hG4bK1"),
        ("<Teardown-Method>", "CANCEL"),
        ("<To-Address>", "b.example"),
        ("<To-Name>", "Bob"),
        ("<From-Name>", "Ann"),
        ("<Content-Length>", "0"),
    ];
    let (mut read, mut sound) = (0, 0);
    for index in 0..archive.len() {
        let mut bytes = Vec::new();
        archive
            .by_index(index)
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        let bytes = filled(&bytes, &fill);
        // Neighbours differ little; a third of them is printed and read again too, which takes most of the time.
        if index % 3 == 0 && bytes.len() < 8_192 {
            message::check(&bytes);
        }
        let _ = Message::salvage(Bytes::copy_from_slice(&bytes));
        read += 1;
        sound += usize::from(accepted(&bytes).is_some());
    }
    assert!(
        read > 9_000 && sound > read / 10,
        "{sound} of {read} were accepted"
    );
}

/// The suite's marks replaced by what they stand for.
fn filled(bytes: &[u8], marks: &[(&str, &str)]) -> Vec<u8> {
    let mut parts = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(b'<', rest) {
        parts.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let mark = marks
            .iter()
            .find(|(mark, _)| rest.starts_with(mark.as_bytes()));
        let (len, text) = mark.map_or((1, "<"), |(mark, text)| (mark.len(), text));
        parts.extend_from_slice(text.as_bytes());
        rest = &rest[len..];
    }
    parts.extend_from_slice(rest);
    parts
}

/// What fuzzing started from, and what it found, is tried again on every run.
#[test]
fn the_fuzz_corpora_hold() {
    let replay = |target: &str, check: fn(&[u8])| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(target);
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            check(&std::fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 4);
    };
    replay("sip_message", message::check);
    replay("sip_stream", stream::check);
}
