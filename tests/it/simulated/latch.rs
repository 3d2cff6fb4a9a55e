//! Where a peer behind NAT may be heard from, as the relay is told.

use std::net::IpAddr;

use ipnet::IpNet;
use tollgate::media::MediaSource;

use crate::sim::World;
use crate::sim::setup::*;

/// Without SRTP only from where its signalling comes and from the trunk's access list: for callers, whose INVITE comes from
/// there, and for called parties, whose answers do. A trunk without `latch` is heard from where it says.
#[test]
fn a_peer_behind_nat_is_looked_for_where_its_signalling_comes_from() {
    let media: IpNet = "203.0.113.0/24".parse().unwrap();
    let own = IpNet::from(IpAddr::from([192, 0, 2, 10]));
    for latch in [true, false] {
        for teams_calls in [true, false] {
            let setup = Setup::default().trunk_with("pbx", |pbx| {
                pbx.profile.latch = latch;
                pbx.acl.push(media);
            });
            let mut w = World::with(setup, 21);
            let (a, b) = if teams_calls {
                w.call_from_teams()
            } else {
                w.call_to_teams()
            };
            let pbx = if teams_calls { b } else { a };
            let (_, leg) = w.leg(pbx).unwrap();
            match &leg.config.as_ref().unwrap().source {
                MediaSource::Latch(networks) => {
                    assert!(latch);
                    assert!(networks.contains(&own) && networks.contains(&media));
                    assert!(networks.len() <= 3);
                }
                MediaSource::Strict => assert!(!latch),
            }
            w.bye(a);
            w.hung_up(b);
            let [_] = w.finish();
        }
    }
}
