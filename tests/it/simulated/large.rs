//! Requests that a datagram should not carry (RFC 3261 §18.1.1, TDR-310).

use tollgate::b2bua::{Fact, Report};
use tollgate::directory::UdpToTcp;
use tollgate::sip::Name;

use crate::sim::World;
use crate::sim::setup::*;

/// TDR-310: an INVITE of more than 1300 bytes to a trunk on UDP. By default it goes there all the same, and is counted;
/// where the profile says so it goes by TCP, and by UDP where TCP is refused. What is not large goes as ever.
#[test]
fn a_large_invite_to_a_trunk_on_udp() {
    for (policy, subject, refused, by, counted) in [
        (UdpToTcp::Never, 900, false, "UDP", 1),
        (UdpToTcp::Never, 9, false, "UDP", 0),
        (UdpToTcp::WhenLarge, 900, false, "TCP", 0),
        (UdpToTcp::WhenLarge, 900, true, "UDP", 0),
        (UdpToTcp::WhenLarge, 9, false, "UDP", 0),
    ] {
        let what = format!("{policy:?} {subject} {refused}");
        let setup = Setup::default().trunk_with("pbx", |trunk| trunk.profile.udp_to_tcp = policy);
        let mut w = World::with(setup, 75);
        w.agents[PBX].refuses_tcp = refused;
        let a = w.dial_with(TEAMS, OUTSIDE, |draft| {
            draft.header(Name::Subject, "x".repeat(subject));
        });
        let b = w.incoming(PBX);
        let via = w.sides[b.0].invite.header(Name::Via).unwrap().to_string();
        assert!(via.starts_with(&format!("SIP/2.0/{by} ")), "{what}: {via}");
        w.answer(b);
        assert_eq!(w.outcome(a).status(), 200, "{what}");
        w.acknowledged(b);
        assert!(w.talk(a, b), "{what}");
        w.bye(a);
        w.hung_up(b);
        let is_it = |r: &&Report| matches!(r, Report::LargeDatagram { trunk } if trunk == "pbx");
        assert_eq!(w.reports.iter().filter(is_it).count(), counted, "{what}");
        let [cdr] = w.finish();
        let mut facts = cdr.why.steps.iter().map(|step| &step.fact);
        let told = facts.any(|fact| matches!(fact, Fact::NextAddress { .. }));
        assert_eq!(told, refused, "{what}");
    }
}
