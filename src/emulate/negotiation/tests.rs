use super::*;

fn party(manner: Manner, port: u16) -> Negotiation {
    Negotiation::new(
        manner,
        [127, 0, 0, 1].into(),
        (port, if manner.is_secure() { port } else { port + 1 }),
    )
}

/// Teams' offer is answered by its second crypto line and its first G.711, which is PCMU; each sends with its own key.
#[test]
fn the_offer_of_teams_is_answered() {
    let (mut a, mut b) = (party(Manner::Teams, 4000), party(Manner::SecurePbx, 5000));
    let offer = a.offer(Direction::SendRecv);
    let (answer, at_b) = b.answer(offer.as_bytes(), false).unwrap();
    let at_a = a.accept(answer.as_bytes()).unwrap();
    let (keys_a, keys_b) = (at_a.keys.unwrap(), at_b.keys.unwrap());
    assert!(answer.contains("a=crypto:1 AES_CM_128_HMAC_SHA1_80 "));
    assert_eq!(
        (keys_a.ours, keys_a.theirs, keys_a.suite),
        (keys_b.theirs, keys_b.ours, Suite::Sha1Tag80)
    );
    assert_eq!(
        (at_a.rtp.port(), at_b.rtp.port(), at_a.law),
        (5000, 4000, Law::Mu)
    );
    assert!(at_a.send && at_b.send);
}

/// What TDR says Teams refuses is refused, each for its own reason.
#[test]
fn teams_refuses_what_it_must() {
    let good = party(Manner::SecurePbx, 4000).offer(Direction::SendRecv);
    let judge = |offer: String| {
        party(Manner::Teams, 5000)
            .answer(offer.as_bytes(), false)
            .map(|_| ())
    };
    assert_eq!(judge(good.clone()), Ok(()));
    assert_eq!(
        judge(good.replace("RTP/SAVP", "RTP/AVP")),
        Err(Objection::PlainRtp)
    );
    assert_eq!(
        judge(good.replace("c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0")),
        Err(Objection::ZeroAddress)
    );
    assert_eq!(
        judge(good.replace("SHA1_80", "SHA1_99")),
        Err(Objection::NoSuite)
    );
    assert_eq!(
        judge(good.replace(" 8 0 101", " 101")),
        Err(Objection::NoCodec)
    );
    assert_eq!(
        judge(good.replace("a=ptime:20", "a=ice-ufrag:x")),
        Err(Objection::Ice)
    );
}

/// An answer must choose a line that was offered, and one only.
#[test]
fn an_answer_must_fit_the_offer() {
    let mut a = party(Manner::Teams, 4000);
    let offer = a.offer(Direction::SendRecv);
    let (answer, _) = party(Manner::SecurePbx, 5000)
        .answer(offer.as_bytes(), false)
        .unwrap();
    assert_eq!(
        a.accept(answer.replace("crypto:1", "crypto:2").as_bytes()),
        Err(Objection::WrongCrypto)
    );
    let line = answer.lines().find(|l| l.starts_with("a=crypto")).unwrap();
    assert_eq!(
        a.accept(format!("{answer}{line}\r\n").as_bytes()),
        Err(Objection::ManyCryptos(2))
    );
}

/// A refresh is identical; a hold changes the direction and the version only; resuming changes them again.
#[test]
fn a_refresh_is_identical_and_a_hold_is_not() {
    let mut a = party(Manner::Teams, 4000);
    let first = a.offer(Direction::SendRecv);
    assert_eq!(a.offer(Direction::SendRecv), first);
    let held = a.offer(Direction::Inactive);
    assert!(
        held.contains(" 1 IN IP4") && held.contains("a=inactive") && !held.contains("a=sendrecv")
    );
    assert!(a.offer(Direction::SendRecv).contains(" 2 IN IP4"));
}

/// Teams goes on sending to where the call began (TDR-804); a PBX follows.
#[test]
fn teams_does_not_follow_a_moved_address() {
    for (manner, port) in [(Manner::Teams, 4000), (Manner::SecurePbx, 6000)] {
        let mut peer = party(manner, 5000);
        let offer = |port| party(Manner::SecurePbx, port).offer(Direction::SendRecv);
        peer.answer(offer(4000).as_bytes(), false).unwrap();
        assert!(peer.moved(offer(6000).as_bytes()));
        let (_, agreed) = peer.answer(offer(6000).as_bytes(), false).unwrap();
        assert_eq!(agreed.rtp.port(), port);
    }
}

/// An all-zero address is answered by receiving only, and nothing is sent to it.
#[test]
fn a_pbx_can_be_held_by_address() {
    let (mut a, mut b) = (party(Manner::Pbx, 4000), party(Manner::Pbx, 5000));
    let first = a.offer(Direction::SendRecv);
    b.answer(first.as_bytes(), false).unwrap();
    let (answer, agreed) = b.answer(a.zero_offer().as_bytes(), false).unwrap();
    assert!(!agreed.send, "{answer}");
    let (_, agreed) = b
        .answer(a.offer(Direction::SendRecv).as_bytes(), false)
        .unwrap();
    assert!(agreed.send);
    assert_eq!(agreed.rtp.port(), 4000);
}
