//! Requests of ours: targets, forks, failures, and the order in which they leave.

use super::*;

/// A target that cannot be reached is left at once for the next, by a new transaction; the last failure is told.
#[test]
fn an_unreachable_target_is_left() {
    let mut alone = Alone::new(Transport::Tls);
    let (_, (first, way, invite)) = alone.invite(&[ONE, TWO]);
    assert_eq!(to(&way), ONE);
    alone
        .endpoint
        .send_failed(first, "refused".to_owned(), alone.now);
    let (second, way, again) = alone.one();
    assert_eq!(to(&way), TWO);
    assert_ne!(first, second);
    assert_ne!(invite.via().unwrap().branch, again.via().unwrap().branch);
    assert_eq!(again.via().unwrap().transport, "TLS");
    // What is told late of the first target no longer matters.
    alone
        .endpoint
        .send_failed(first, "refused".to_owned(), alone.now);
    assert!(alone.outputs().is_empty());
    alone
        .endpoint
        .send_failed(second, "reset".to_owned(), alone.now);
    assert_eq!(alone.told(), ["the request could not be sent: reset"]);
    assert_eq!(alone.endpoint.counters().failovers, 1);
    alone.finish();
}

/// Each target that is left is told with what it did; the last one's failure is that of the request.
#[test]
fn every_target_that_fails_is_told() {
    let mut alone = Alone::new(Transport::Tls);
    let (_, (first, _, _)) = alone.invite(&[ONE, TWO]);
    alone
        .endpoint
        .send_failed(first, "refused".to_owned(), alone.now);
    let refused = "next target: the request could not be sent: refused";
    assert_eq!(alone.told(), [refused]);
    alone.wait(4_500);
    assert_eq!(alone.told(), [Failure::Timeout.to_string()]);
    let (_, (_, _, invite)) = alone.invite(&[ONE, TWO]);
    alone.receive(&response(&invite, 503, "x").finish(None));
    assert_eq!(alone.told(), ["next target: the peer answered 503"]);
    alone.finish();
}

/// A 503 is acknowledged, then the next target is tried; the last target's 503 reaches the user.
#[test]
fn a_busy_target_is_left() {
    for transport in [Transport::Udp, Transport::Tls] {
        let mut alone = Alone::new(transport);
        let (_, (_, _, invite)) = alone.invite(&[ONE, TWO]);
        alone.receive(&response(&invite, 503, "x").finish(None));
        let sent = alone.sent();
        assert_eq!(
            sent.iter().map(|(_, way, _)| to(way)).collect::<Vec<_>>(),
            [ONE, TWO]
        );
        assert_eq!(
            [sent[0].2.method(), sent[1].2.method()],
            [Method::Ack, Method::Invite]
        );
        alone.receive(&response(&sent[1].2, 503, "y").finish(None));
        assert_eq!(alone.told(), ["503 INVITE"]);
        alone.finish();
    }
}

/// TDR-213: no retry on any other refusal.
#[test]
fn other_refusals_are_final() {
    let mut alone = Alone::new(Transport::Tls);
    let (_, (_, _, invite)) = alone.invite(&[ONE, TWO]);
    alone.receive(&response(&invite, 603, "x").finish(None));
    let outputs = alone.outputs();
    assert!(
        matches!(
            outputs[..],
            [Output::Send { .. }, Output::Event(Event::Response { .. })]
        ),
        "{outputs:?}"
    );
    assert_eq!(alone.finish(), [""; 0]);
}

/// A target that keeps silent is left after the trying timeout; a single one has failed then.
#[test]
fn a_silent_target_is_left() {
    let mut alone = Alone::new(Transport::Tls);
    alone.invite(&[ONE, TWO]);
    alone.wait(4_499);
    assert!(alone.outputs().is_empty());
    alone.wait(1);
    assert_eq!(to(&alone.one().1), TWO);
    alone.wait(4_500);
    assert_eq!(alone.told(), [Failure::Timeout.to_string()]);
    assert_eq!(alone.finish(), [""; 0]);
}

/// After a provisional there is no trying timeout, but timer C, with a CANCEL.
#[test]
fn ringing_for_too_long_fails() {
    let mut alone = Alone::new(Transport::Tls);
    let (_, (_, _, invite)) = alone.invite(&[ONE, TWO]);
    alone.receive(&response(&invite, 180, "x").finish(None));
    assert_eq!(alone.told(), ["180 INVITE"]);
    alone.wait(179_999);
    assert!(alone.outputs().is_empty());
    alone.wait(1);
    let outputs = alone.outputs();
    assert!(
        matches!(
            outputs[..],
            [Output::Send { .. }, Output::Event(Event::Failed { .. })]
        ),
        "{outputs:?}"
    );
    alone.finish();
}

/// A target that was left answers late: its ringing is cancelled, its 200 is acknowledged and hung up, and copies of that
/// 200 are only acknowledged. The user hears nothing of it.
#[test]
fn a_late_answer_is_undone() {
    let mut alone = Alone::new(Transport::Tls);
    let (_, (_, _, invite)) = alone.invite(&[ONE, TWO]);
    alone.wait(4_500);
    let (_, _, second) = alone.one();
    alone.receive(&response(&invite, 180, "late").finish(None));
    let (_, way, cancel) = alone.one();
    assert_eq!(
        (cancel.method(), to(&way)),
        (Method::Cancel, ONE.to_owned())
    );
    let answer = response(&invite, 200, "late").finish(None);
    alone.receive(&answer);
    let methods: Vec<_> = alone
        .sent()
        .iter()
        .map(|(_, _, message)| message.method())
        .collect();
    assert_eq!(methods, [Method::Ack, Method::Bye]);
    alone.receive(&answer);
    assert_eq!(alone.one().2.method(), Method::Ack);
    alone.receive(&response(&second, 486, "busy").finish(None));
    assert_eq!(alone.finish(), ["486 INVITE"]);
}

/// A CANCEL looks like its INVITE, as does the ACK of its 487 (RFC 3261 §9.1, §17.1.1.3).
#[test]
fn what_follows_an_invite_looks_like_it() {
    let mut alone = Alone::new(Transport::Tls);
    let mut draft = request(Method::Invite, 1);
    draft.header(Name::Route, "<sip:192.0.2.9;lr>");
    let key = alone
        .endpoint
        .request(draft, hop("192.0.2.2", Transport::Tls), alone.now);
    let (_, _, invite) = alone.one();
    alone
        .endpoint
        .cancel(key, Some("Q.850;cause=16"), alone.now);
    assert!(alone.outputs().is_empty(), "held until a provisional");
    alone.receive(&Builder::response(&invite, 100, "").finish(None));
    let (_, _, cancel) = alone.one();
    alone.receive(&response(&cancel, 200, "b").finish(None));
    alone.receive(&response(&invite, 487, "b").finish(None));
    let outputs = alone.outputs();
    let [
        Output::Send { bytes, .. },
        Output::Event(Event::Response { .. }),
    ] = &outputs[..]
    else {
        panic!("{outputs:?}")
    };
    let ack = Message::parse(bytes.clone()).unwrap();
    for (message, method) in [(&cancel, "CANCEL"), (&ack, "ACK")] {
        assert_eq!(message.method_text(), method);
        assert_eq!(message.request_uri(), invite.request_uri());
        for name in [Name::Via, Name::From, Name::CallId, Name::Route] {
            assert_eq!(message.header(name), invite.header(name), "{name}");
        }
        assert_eq!(
            message.header(Name::CSeq).unwrap().text(),
            Some(format!("1 {method}").as_str())
        );
        assert_eq!(message.headers(Name::Via).count(), 1);
    }
    assert_eq!((cancel.to_tag(), ack.to_tag()), (None, Some("b")));
    assert_eq!(
        cancel.header(Name::Reason).unwrap().text(),
        Some("Q.850;cause=16")
    );
    alone.finish();
}

/// Cancelled before DNS has answered, nothing goes out; cancelled before a provisional, no other target is tried.
#[test]
fn a_cancelled_request_goes_nowhere_else() {
    let mut alone = Alone::new(Transport::Tls);
    let key = alone.endpoint.request(
        request(Method::Invite, 1),
        hop("peer.example", Transport::Tls),
        alone.now,
    );
    alone.outputs();
    alone.endpoint.cancel(key, None, alone.now);
    assert_eq!(alone.told(), [Failure::Cancelled.to_string()]);
    let (key, (first, ..)) = alone.invite(&[ONE, TWO]);
    alone.endpoint.cancel(key, None, alone.now);
    alone
        .endpoint
        .send_failed(first, "refused".to_owned(), alone.now);
    assert_eq!(alone.told(), ["the request could not be sent: refused"]);
    let (key, (_, _, invite)) = alone.invite(&[ONE, TWO]);
    alone.receive(&Builder::response(&invite, 100, "").finish(None));
    alone.endpoint.cancel(key, None, alone.now);
    alone.receive(&response(&invite, 503, "x").finish(None));
    assert_eq!(alone.finish(), ["100 INVITE", "503 INVITE"]);
}

/// Two forks answer: both 200s are told, each with its own ACK, which goes out again for every copy. A ringing fork is
/// told while it can still matter.
#[test]
fn forks_are_told_apart() {
    let mut alone = Alone::new(Transport::Udp);
    let (key, (_, _, invite)) = alone.invite(&[B]);
    for (status, tag) in [
        (180, "one"),
        (180, "two"),
        (183, "three"),
        (200, "two"),
        (200, "four"),
    ] {
        alone.receive(&response(&invite, status, tag).finish(None));
    }
    assert_eq!(
        alone.told(),
        [
            "180 INVITE",
            "180 INVITE",
            "183 INVITE",
            "200 INVITE",
            "200 INVITE"
        ]
    );
    alone.receive(&response(&invite, 200, "two").finish(None));
    assert!(
        alone.outputs().is_empty(),
        "the user knows of it and has not acknowledged it yet"
    );
    for tag in ["two", "four"] {
        let answer = response(&invite, 200, tag).finish(None);
        let dialog = Dialog::uac(&invite, &answer).unwrap();
        alone.endpoint.acknowledge(
            key,
            dialog.ack(1),
            NextHop::Hop(dialog.next_hop(Realm::Trunk)),
            alone.now,
        );
        let (_, _, ack) = alone.one();
        alone.receive(&answer);
        let (_, _, copy) = alone.one();
        assert_eq!((&ack, ack.to_tag()), (&copy, Some(tag)));
    }
    assert_eq!(alone.finish(), [""; 0]);
}

/// An ACK whose target cannot be reached takes the next.
#[test]
fn an_ack_fails_over() {
    let mut alone = Alone::new(Transport::Tls);
    let (key, (_, _, invite)) = alone.invite(&[ONE]);
    let answer = response(&invite, 200, "b").finish(None);
    alone.receive(&answer);
    alone.outputs();
    let ack = Dialog::uac(&invite, &answer).unwrap().ack(1);
    alone
        .endpoint
        .acknowledge(key, ack, hop("peer.example", Transport::Tls), alone.now);
    let outputs = alone.outputs();
    let [Output::Resolve { id, .. }] = outputs[..] else {
        panic!("{outputs:?}")
    };
    let targets = [ONE, TWO].map(|at| target(Transport::Tls, at));
    alone.endpoint.resolved(id, Ok(targets.to_vec()), alone.now);
    let (id, ..) = alone.one();
    alone
        .endpoint
        .send_failed(id, "refused".to_owned(), alone.now);
    assert_eq!(to(&alone.one().1), TWO);
    alone.receive(&answer);
    assert_eq!(to(&alone.one().1), TWO);
    alone.finish();
}

/// RFC 3261 §18.1.1: where it may, what a datagram should not carry goes by TCP to the same place, and says so in its Via;
/// where TCP is refused, by UDP after all. What fits goes by UDP, and so does everything where nobody allowed TCP.
#[test]
fn large_requests_go_by_tcp() {
    let asked = |size: usize, by_size: bool| {
        let mut alone = Alone::new(Transport::Udp);
        let mut draft = request(Method::Invite, 1);
        let with = |draft: &mut Builder, subject: usize| {
            draft.replace(Name::Subject, "x".repeat(subject));
        };
        with(&mut draft, 1);
        // The branch is as long as any: the size on the wire is exact.
        let via = "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK----------------;rport";
        let rest = draft.finish(Some(via)).bytes().len() - 1;
        with(&mut draft, size - rest);
        let NextHop::Hop(hop) = hop("192.0.2.2", Transport::Udp) else {
            unreachable!()
        };
        let next = if by_size {
            NextHop::BySize(hop)
        } else {
            NextHop::Hop(hop)
        };
        alone.endpoint.request(draft, next, alone.now);
        alone
    };
    let by = |way: &SendTo, message: &Message| {
        let SendTo::Target(target) = way else {
            panic!("{way:?}")
        };
        let via = message.via().unwrap().transport.to_owned();
        (target.transport, via, target.address == address(B))
    };
    for (size, by_size, transport) in [
        (1300, true, Transport::Udp),
        (1301, true, Transport::Tcp),
        (1301, false, Transport::Udp),
    ] {
        let mut alone = asked(size, by_size);
        let (_, way, message) = alone.one();
        assert_eq!(
            by(&way, &message),
            (transport, transport.via().to_owned(), true)
        );
        assert!(transport != Transport::Udp || message.bytes().len() == size);
    }
    let mut alone = asked(1400, true);
    let (id, ..) = alone.one();
    alone
        .endpoint
        .send_failed(id, "refused".to_owned(), alone.now);
    let (_, way, message) = alone.one();
    assert_eq!(by(&way, &message), (Transport::Udp, "UDP".to_owned(), true));
    alone.finish();
}

/// A name that leads nowhere, and DNS that never answers, fail the request.
#[test]
fn dns_fails() {
    let mut alone = Alone::new(Transport::Tls);
    let ask = |alone: &mut Alone| {
        alone.endpoint.request(
            request(Method::Options, 1),
            hop("peer.example", Transport::Tls),
            alone.now,
        );
        let outputs = alone.outputs();
        let [Output::Resolve { id, .. }] = outputs[..] else {
            panic!("{outputs:?}")
        };
        id
    };
    let id = ask(&mut alone);
    alone.endpoint.resolved(id, Ok(Vec::new()), alone.now);
    assert_eq!(
        alone.told(),
        ["the next hop could not be resolved: the name leads nowhere"]
    );
    let late = ask(&mut alone);
    alone.wait(32_000);
    assert_eq!(
        alone.told(),
        ["the next hop could not be resolved: no answer"]
    );
    alone
        .endpoint
        .resolved(late, Ok(vec![target(Transport::Tls, ONE)]), alone.now);
    assert!(alone.finish().is_empty());
}

/// RFC 3261 §12.2.2: what belongs to one call leaves in the order in which it was asked for, whichever answer of DNS
/// comes first, and an answer that never comes does not keep the others. Another call does not wait.
#[test]
fn requests_of_a_call_do_not_overtake_each_other() {
    for first_is_found in [true, false] {
        let mut alone = Alone::new(Transport::Tls);
        let asked: Vec<_> = [
            (Method::Notify, 1),
            (Method::Notify, 1),
            (Method::Bye, 1),
            (Method::Info, 2),
        ]
        .into_iter()
        .map(|(method, call)| {
            let hop = hop("peer.example", Transport::Tls);
            alone
                .endpoint
                .request(request(method, call), hop, alone.now);
            let outputs = alone.outputs();
            let [Output::Resolve { id, .. }] = outputs[..] else {
                panic!("{outputs:?}")
            };
            id
        })
        .collect();
        let sent = |alone: &mut Alone| -> Vec<Method> {
            let outputs = alone.outputs().into_iter();
            outputs
                .filter_map(|output| match output {
                    Output::Send { bytes, .. } => Some(Message::parse(bytes).unwrap().method()),
                    _ => None,
                })
                .collect()
        };
        let answer = |alone: &mut Alone, n: usize| {
            let targets = vec![target(Transport::Tls, ONE)];
            alone.endpoint.resolved(asked[n], Ok(targets), alone.now);
        };
        answer(&mut alone, 2);
        answer(&mut alone, 1);
        assert_eq!(sent(&mut alone), []);
        answer(&mut alone, 3);
        assert_eq!(sent(&mut alone), [Method::Info]);
        if first_is_found {
            answer(&mut alone, 0);
            assert_eq!(
                sent(&mut alone),
                [Method::Notify, Method::Notify, Method::Bye]
            );
        } else {
            alone.wait(32_000);
            assert_eq!(sent(&mut alone), [Method::Notify, Method::Bye]);
        }
        alone.finish();
    }
}

/// An INVITE that is given up before DNS has answered does not keep what comes after it.
#[test]
fn who_gives_up_lets_others_pass() {
    let mut alone = Alone::new(Transport::Tls);
    let ask = |alone: &mut Alone, method| {
        let hop = hop("peer.example", Transport::Tls);
        let key = alone.endpoint.request(request(method, 1), hop, alone.now);
        let outputs = alone.outputs();
        let [Output::Resolve { id, .. }] = outputs[..] else {
            panic!("{outputs:?}")
        };
        (key, id)
    };
    let (invite, _) = ask(&mut alone, Method::Invite);
    let (_, bye) = ask(&mut alone, Method::Bye);
    let targets = vec![target(Transport::Tls, ONE)];
    alone.endpoint.resolved(bye, Ok(targets), alone.now);
    assert!(alone.outputs().is_empty());
    alone.endpoint.cancel(invite, None, alone.now);
    let outputs = alone.outputs();
    let is_bye = |output: &Output| matches!(output, Output::Send { bytes, .. } if bytes.starts_with(b"BYE "));
    assert!(outputs.iter().any(is_bye), "{outputs:?}");
    alone.finish();
}

/// A request that is no INVITE and is given up is not repeated, nothing is told of it, and nothing of it stays: before DNS
/// has answered and after it went out.
#[test]
fn a_request_that_is_given_up() {
    for is_known in [true, false] {
        let mut alone = Alone::new(Transport::Udp);
        let host = if is_known {
            "192.0.2.2"
        } else {
            "peer.example"
        };
        let next = hop(host, Transport::Udp);
        let key = alone
            .endpoint
            .request(request(Method::Notify, 1), next, alone.now);
        assert_eq!(alone.outputs().len(), 1, "it goes out, or asks");
        alone.endpoint.give_up(key, alone.now);
        assert!(alone.outputs().is_empty());
        assert_eq!(alone.finish(), [""; 0]);
    }
}
