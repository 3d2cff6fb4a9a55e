//! The attacks of `media::relay`'s own tests on the wire: somebody at another address sprays all media ports of a running SBC
//! the whole time, as in the advisory ES2025-01, and waits for what comes back.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::*;

/// Its synchronisation source.
const SSRC: u32 = 0xef0a_07de;

/// Somebody who has nothing to do with the call.
struct Attacker {
    socket: Arc<UdpSocket>,
    task: JoinHandle<()>,
}

impl Attacker {
    /// Begins to send voice packets of silence, RTCP reports and STUN requests to all media ports, over and over.
    async fn spraying(lab: &Lab) -> Self {
        // On loopback all of 127.0.0.0/8 is ours; the call's own parties are at 127.0.0.1.
        let socket = Arc::new(UdpSocket::bind(("127.0.0.66", 0)).await.unwrap());
        let (to, from) = (lab.first_port(), socket.clone());
        let task = tokio::spawn(async move {
            let mut sequence = 0xee3c_u16;
            loop {
                sequence = sequence.wrapping_add(1);
                for packet in Self::packets(sequence) {
                    for port in to..to + 64 {
                        let target = SocketAddr::from(([127, 0, 0, 1], port));
                        let _ = from.send_to(&packet, target).await;
                    }
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self { socket, task }
    }

    fn packets(sequence: u16) -> [Vec<u8>; 3] {
        let mut voice = vec![0x80, 0];
        voice.extend(sequence.to_be_bytes());
        voice.extend((u32::from(sequence) * 160).to_be_bytes());
        voice.extend(SSRC.to_be_bytes());
        voice.extend([0; 160]);
        let mut report = vec![0x80, 201, 0, 1];
        report.extend(SSRC.to_be_bytes());
        let mut check = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        check.extend([7; 12]);
        [voice, report, check]
    }

    /// Nothing ever came back, and nobody has heard a packet of it.
    async fn got_nowhere(self, calls: [&EmuCall; 2]) {
        self.task.abort();
        let mut buffer = [0; 2000];
        let got = tokio::time::timeout(A_WHILE, self.socket.recv_from(&mut buffer)).await;
        assert!(got.is_err(), "the SBC sends media to a stranger: {got:?}");
        for call in calls {
            let report = call.report();
            assert!(!report.sources.contains(&SSRC), "{report:?}");
        }
    }
}

/// RTP bleed and RTP inject while a call is set up and while it lasts, from Teams (SRTP) to a PBX (plain): both hear each
/// other's pure tone, nobody hears the attacker, and the attacker hears nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rtp_bleed_and_inject_before_and_during_a_call() {
    let lab = Lab::plain().await;
    let attacker = Attacker::spraying(&lab).await;
    let (teams, pbx) = lab.call_from_teams().await;
    both_hear(&teams, &pbx).await;
    attacker.got_nowhere([&teams, &pbx]).await;
    pbx.bye().await;
    assert_eq!(teams.ended().await.unwrap().by, By::Peer);
    lab.close().await;
}

/// The same to a PBX that may be behind NAT (`latch`), which is when other relays learn from anybody; and around re-INVITEs,
/// after which they learn again: hold, music and resume on either side, a refresh, new keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rtp_bleed_and_inject_around_reinvites() {
    let lab = Lab::start(Setup {
        trunk: json!({ "profile": { "latch": true } }),
        ..Setup::default()
    })
    .await;
    let attacker = Attacker::spraying(&lab).await;
    let (teams, pbx) = lab.call_from_pbx().await;
    both_hear(&teams, &pbx).await;
    teams.hold(Hold::Inactive).await.unwrap();
    pbx.hears_melody(TEAMS_TONE).await.expect("music alone");
    teams.resume().await.unwrap();
    both_hear(&teams, &pbx).await;
    pbx.hold(Hold::Inactive).await.unwrap();
    teams.hears_melody(PBX_TONE).await.expect("music alone");
    pbx.resume().await.unwrap();
    pbx.refresh().await.unwrap();
    teams.rekey().await.unwrap();
    both_hear(&teams, &pbx).await;
    attacker.got_nowhere([&teams, &pbx]).await;
    teams.bye().await;
    assert_eq!(pbx.ended().await.unwrap().by, By::Peer);
    lab.close().await;
}
