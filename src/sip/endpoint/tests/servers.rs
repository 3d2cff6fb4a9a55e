//! Requests of peers, and what is dropped.

use super::*;

const OPTIONS: &str = "OPTIONS sip:sbc.example SIP/2.0\nVia: SIP/2.0/UDP 198.51.100.1:5999;branch=z9hG4bKx\n\
    Max-Forwards: 70\nFrom: <sip:a@a.example>;tag=1\nTo: <sip:sbc.example>\nCall-ID: c\nCSeq: 1 OPTIONS\n\
    Content-Length: 0\n\n";

fn invite_text() -> String {
    OPTIONS.replace("OPTIONS", "INVITE").replace(
        "Content-Length",
        "Contact: <sip:a@192.0.2.2>\nContent-Length",
    )
}

/// RFC 3261 §18.2.2 and RFC 3581: without rport a response goes to the sent-by's port, with it to the source's, both at the
/// source's address; with a private address in the sent-by to the source's, as no other leads through NAT. On a stream it
/// takes the connection.
#[test]
fn responses_find_back() {
    let answer = |transport, text: &str| {
        let mut alone = Alone::new(transport);
        alone.receive_text(text);
        let (key, request) = alone.key();
        alone
            .endpoint
            .respond(key, Builder::response(&request, 200, ""), alone.now);
        let (id, to, message) = alone.one();
        (alone, id, to, message)
    };
    let (_, _, way, message) = answer(Transport::Udp, OPTIONS);
    assert_eq!(way, SendTo::Flow(Flow(7), address("192.0.2.2:5999")));
    assert_eq!(message.via().unwrap().received, Some("192.0.2.2"));
    assert!(message.to_tag().is_some());
    let (_, _, way, message) = answer(
        Transport::Udp,
        &OPTIONS.replace("z9hG4bKx", "z9hG4bKx;rport"),
    );
    assert_eq!(
        (to(&way), message.via().unwrap().rport),
        (B.to_owned(), Some(Some(5060)))
    );
    let private = OPTIONS.replace("198.51.100.1", "192.168.1.9");
    let (_, _, way, _) = answer(Transport::Udp, &private);
    assert_eq!(way, SendTo::Flow(Flow(7), address(B)));
    let (mut alone, id, way, message) = answer(Transport::Tls, OPTIONS);
    assert_eq!(way, SendTo::Flow(Flow(7), address(B)));
    // The connection is gone: a new one to the source's address and the sent-by's port.
    alone
        .endpoint
        .send_failed(id, "closed".to_owned(), alone.now);
    let (id, way, again) = alone.one();
    let SendTo::Target(target) = &way else {
        panic!("{way:?}")
    };
    assert_eq!(
        (target.address, target.name.as_str()),
        (address("192.0.2.2:5999"), "198.51.100.1")
    );
    assert_eq!(again, message);
    alone
        .endpoint
        .send_failed(id, "refused".to_owned(), alone.now);
    assert!(alone.outputs().is_empty());
    alone.finish();
}

/// A copy is answered with what was answered last, and is not told; the branch's case does not matter, the sent-by does.
#[test]
fn copies_are_absorbed() {
    let mut alone = Alone::new(Transport::Udp);
    alone.receive_text(OPTIONS);
    let (key, request) = alone.key();
    alone.receive_text(OPTIONS);
    assert!(alone.outputs().is_empty());
    alone
        .endpoint
        .respond(key, Builder::response(&request, 404, ""), alone.now);
    let (_, _, answer) = alone.one();
    alone.receive_text(&OPTIONS.replace("z9hG4bKx", "Z9HG4bKX"));
    assert_eq!(alone.one().2.bytes().len(), answer.bytes().len());
    alone
        .endpoint
        .respond(key, Builder::response(&request, 200, ""), alone.now);
    assert!(alone.outputs().is_empty(), "there is one final response");
    alone.receive_text(
        &OPTIONS
            .replace("198.51.100.1", "198.51.100.2")
            .replace("Call-ID: c", "Call-ID: d"),
    );
    assert_eq!(alone.told(), ["OPTIONS"]);
    assert_eq!(alone.endpoint.counters().retransmissions_received, 2);
}

/// A peer of RFC 2543 has no magic cookie; its copies, its ACK and its CANCEL still find their transaction.
#[test]
fn old_branches_match_too() {
    let mut alone = Alone::new(Transport::Udp);
    let old = invite_text().replace("branch=z9hG4bKx", "branch=1");
    alone.receive_text(&old);
    let events = alone.events();
    let [Event::Request { key, message, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    alone.receive_text(&old);
    assert_eq!(alone.one().2.status(), 100);
    let later = old.replace("Call-ID: c", "Call-ID: d");
    alone.receive_text(&later);
    assert_eq!(
        alone.told(),
        ["INVITE"],
        "another call with the same branch"
    );
    alone.receive_text(&old.replace("INVITE", "CANCEL"));
    assert_eq!(alone.told(), ["cancelled"]);
    alone
        .endpoint
        .respond(*key, Builder::response(message, 487, ""), alone.now);
    let (_, _, refusal) = alone.one();
    let tag = refusal.to_tag().unwrap();
    let ack = old.replace("INVITE", "ACK").replace(
        "To: <sip:sbc.example>",
        &format!("To: <sip:sbc.example>;tag={tag}"),
    );
    alone.receive_text(&ack);
    alone.wait(500);
    assert!(alone.outputs().is_empty(), "the ACK was understood");
}

/// A CANCEL is answered, with the tag that the INVITE gets, and told while the INVITE is open; one of nothing gets a 481.
#[test]
fn cancels_of_a_peer() {
    let mut alone = Alone::new(Transport::Udp);
    alone.receive_text(&invite_text());
    let (key, invite) = alone.key();
    let cancel = invite_text().replace("INVITE", "CANCEL");
    alone.receive_text(&cancel);
    let outputs = alone.outputs();
    let [
        Output::Send { bytes, .. },
        Output::Event(Event::Cancelled { key: cancelled, .. }),
    ] = &outputs[..]
    else {
        panic!("{outputs:?}")
    };
    assert_eq!(*cancelled, key);
    let ok = Message::parse(bytes.clone()).unwrap();
    assert_eq!((ok.status(), ok.method()), (200, Method::Cancel));
    alone
        .endpoint
        .respond(key, Builder::response(&invite, 487, ""), alone.now);
    assert_eq!(alone.one().2.to_tag(), ok.to_tag());
    alone.receive_text(&cancel);
    assert_eq!(alone.one().2, ok);
    alone.receive_text(&cancel.replace("z9hG4bKx", "z9hG4bKother"));
    assert_eq!(alone.one().2.status(), 481);
}

/// RFC 3261 §8.2.2.2: the second way of a forked request is refused, unless the first was refused too.
#[test]
fn merged_requests_are_refused() {
    let mut alone = Alone::new(Transport::Udp);
    alone.receive_text(&invite_text());
    let (key, invite) = alone.key();
    let fork = |branch: &str| invite_text().replace("z9hG4bKx", branch);
    alone.receive_text(&fork("z9hG4bKy"));
    assert_eq!(alone.one().2.status(), 482);
    alone
        .endpoint
        .respond(key, Builder::response(&invite, 404, ""), alone.now);
    alone.outputs();
    alone.receive_text(&fork("z9hG4bKz"));
    assert_eq!(alone.told(), ["INVITE"]);
}

/// An ACK of a 2xx is told once with its INVITE; one with another tag belongs to nothing.
#[test]
fn acks_of_a_peer() {
    let mut alone = Alone::new(Transport::Udp);
    alone.receive_text(&invite_text());
    let (key, invite) = alone.key();
    alone
        .endpoint
        .respond(key, response(&invite, 200, "mine"), alone.now);
    alone.outputs();
    let ack = |tag: &str| {
        let text = invite_text()
            .replace("INVITE", "ACK")
            .replace("z9hG4bKx", "z9hG4bKack");
        text.replace(
            "To: <sip:sbc.example>",
            &format!("To: <sip:sbc.example>;tag={tag}"),
        )
    };
    alone.receive_text(&ack("other"));
    assert_eq!(alone.told(), ["ACK unknown"]);
    alone.receive_text(&ack("mine"));
    assert_eq!(alone.told(), ["ACK known"]);
    alone.receive_text(&ack("mine"));
    assert!(alone.finish().is_empty());
}

/// Without an ACK, the 200 goes out 11 times on TLS too, and then the user is told.
#[test]
fn a_missing_ack_is_told() {
    let mut alone = Alone::new(Transport::Tls);
    alone.receive_text(&invite_text());
    let (key, invite) = alone.key();
    alone
        .endpoint
        .respond(key, response(&invite, 200, "mine"), alone.now);
    alone.outputs();
    let mut copies = 0;
    for _ in 0..64 {
        alone.wait(500);
        let outputs = alone.outputs();
        copies += outputs
            .iter()
            .filter(|output| matches!(output, Output::Send { .. }))
            .count();
        if outputs.iter().any(
            |output| matches!(output, Output::Event(Event::NoAck { key: told }) if *told == key),
        ) {
            assert_eq!((copies, alone.endpoint.counters().unacknowledged), (10, 1));
            assert!(alone.finish().is_empty());
            return;
        }
    }
    panic!("never told");
}

/// What cannot be read is answered 400 if it can be answered at all, and an ACK never.
#[test]
fn malformed_requests() {
    let mut alone = Alone::new(Transport::Udp);
    alone.receive_text(&OPTIONS.replace("1 OPTIONS", "x OPTIONS"));
    let (_, way, answer) = alone.one();
    assert_eq!(
        (answer.status(), to(&way)),
        (400, "192.0.2.2:5999".to_owned())
    );
    alone.receive_text(&OPTIONS.replace("Content-Length: 0", "Content-Length: 99"));
    assert_eq!(alone.one().2.status(), 400);
    for text in [
        OPTIONS.replace("Via", "X-Via"),
        OPTIONS.replace("Call-ID", "X-Call-ID"),
        OPTIONS.replace("OPTIONS", "ACK").replace("1 ACK", "x ACK"),
        "nonsense".to_owned(),
        "SIP/2.0 200 OK\n\n".to_owned(),
    ] {
        alone.receive_text(&text);
        assert!(alone.outputs().is_empty(), "{text}");
    }
    assert_eq!(
        (
            alone.endpoint.counters().malformed,
            alone.endpoint.transactions()
        ),
        (7, 0)
    );
    alone.receive_text("\n\n");
    assert_eq!(
        alone.endpoint.counters().malformed,
        7,
        "a keep-alive is no error"
    );
}

/// Beyond the limit requests get a 503, ours fail at once, and both are counted.
#[test]
fn the_table_is_bounded() {
    let mut alone = Alone::with(
        Transport::Udp,
        Config {
            max_transactions: 10,
            ..Config::default()
        },
    );
    for call in 0..12 {
        alone.receive_text(
            &OPTIONS
                .replace("z9hG4bKx", &format!("z9hG4bK{call}"))
                .replace("ID: c", &format!("ID: {call}")),
        );
        alone.endpoint.request(
            request(Method::Options, call),
            hop("peer.example", Transport::Udp),
            alone.now,
        );
    }
    let outputs = alone.outputs();
    let count =
        |wanted: fn(&Output) -> bool| outputs.iter().filter(|output| wanted(output)).count();
    assert_eq!(
        count(|output| matches!(output, Output::Event(Event::Request { .. }))),
        10
    );
    assert_eq!(count(|output| matches!(output, Output::Send { .. })), 2);
    let overloaded = |output: &Output| {
        matches!(
            output,
            Output::Event(Event::Failed {
                failure: Failure::Overloaded,
                ..
            })
        )
    };
    assert_eq!(count(overloaded), 2);
    assert_eq!(
        (
            alone.endpoint.transactions(),
            alone.endpoint.counters().table_full
        ),
        (20, 4)
    );
}

/// Responses to nothing, and such as passed several proxies back, are counted and dropped.
#[test]
fn strange_responses_are_dropped() {
    let mut alone = Alone::new(Transport::Udp);
    let (_, (_, _, invite)) = alone.invite(&[B]);
    let answer = response(&invite, 200, "b").finish(None);
    let text = String::from_utf8(answer.bytes().to_vec())
        .unwrap()
        .replace("\r\n", "\n");
    alone.receive_text(&text.replace("z9hG4bK", "z9hG4bKx"));
    alone.receive_text(&text.replace("INVITE", "BYE"));
    alone.receive_text(&text.replacen(
        "\nVia",
        "\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKq\nVia",
        1,
    ));
    assert!(alone.outputs().is_empty());
    assert_eq!(alone.endpoint.counters().unmatched_responses, 3);
}

/// A request on a flow that the peer opened stays on it, and CANCEL and ACK do too.
#[test]
fn flows_are_kept() {
    let mut alone = Alone::new(Transport::Tcp);
    let next = NextHop::Flow(Flow(42), target(Transport::Tcp, B));
    let key = alone
        .endpoint
        .request(request(Method::Invite, 1), next, alone.now);
    let (_, way, invite) = alone.one();
    assert_eq!(way, SendTo::Flow(Flow(42), address(B)));
    alone.receive(&Builder::response(&invite, 100, "").finish(None));
    alone.endpoint.cancel(key, None, alone.now);
    alone.receive(&response(&invite, 487, "b").finish(None));
    let ways: Vec<_> = alone.sent().into_iter().map(|(_, way, _)| way).collect();
    let same = || SendTo::Flow(Flow(42), address(B));
    assert_eq!(ways, [same(), same()]);
    alone.finish();
}

/// Timers count from the clock that is handed in, also when it comes late: no burst of copies.
#[test]
fn a_stalled_process_sends_no_burst() {
    let mut alone = Alone::with(
        Transport::Udp,
        Config {
            trying_timeout: Duration::from_secs(60),
            ..Config::default()
        },
    );
    alone.invite(&[B]);
    alone.wait(20_000);
    assert_eq!(alone.sent().len(), 1);
    assert_eq!(
        alone.endpoint.deadline(),
        Some(alone.now + Duration::from_secs(1))
    );
}
