//! What refused callers hear, on the wire.

use tollgate::audio::Announcement;
use tollgate::emulate::PbxCall;
use tollgate::store::music::{self, Piece};

use super::*;

/// What the operator brings: a tone of so many seconds.
const HERTZ: f64 = 950.0;

async fn bring(lab: &Lab, seconds: usize) {
    let step = std::f64::consts::TAU * HERTZ / 8000.0;
    let samples: Vec<i16> = (0..8000 * seconds)
        .map(|n| (8000.0 * (n as f64 * step).sin()) as i16)
        .collect();
    let mut change = lab.store().change().await.unwrap();
    let piece = Piece::Announcement(Announcement::NotInService);
    music::put(&mut change, piece, &samples).await.unwrap();
    change.publish().await.unwrap();
}

/// A number that is nobody's: the caller hears what the operator brought, as early media or after a 200, and then the
/// refusal; or hangs up before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_caller_hears_the_announcement() {
    for way in ["early", "answered"] {
        let lab = Lab::start(Setup {
            trunk: json!({ "profile": { "announcements": way } }),
            ..Setup::default()
        })
        .await;
        bring(&lab, 30).await;
        let dial = async || {
            let nobody = |call: &mut PbxCall| call.to = "+19995550000".into();
            lab.dial_from_pbx(nobody).await
        };
        let caller = dial().await;
        caller.hears_tone(HERTZ).await.unwrap();
        if way == "early" {
            assert_eq!(caller.phase(), Phase::Ringing);
            caller.cancel().await;
            assert_eq!(caller.ended().await.unwrap().status, 487);
        } else {
            caller.bye().await;
        }
        bring(&lab, 1).await;
        let caller = dial().await;
        let ended = caller.ended().await.unwrap();
        if way == "early" {
            assert_eq!(ended.status, 404);
        } else {
            assert_eq!(ended.by, By::Peer);
            let bye = caller.message("BYE").unwrap();
            assert!(bye.contains("Q.850;cause=1;"), "{bye}");
        }
        lab.close().await;
    }
}
