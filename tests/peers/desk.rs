//! baresip as a desk telephone that nobody has activated: it registers by each transport, calls its activation and hears
//! what it is told, word for word.

use crate::baresip::Telephone;
use crate::lab::Lab;
use crate::process::PATIENCE;
use crate::sbc::{Sbc, Setup, UNBOXED};
use crate::sound;
use std::time::{Duration, Instant};
use tollgate::audio::{Announcement, Law, g711};

const NAME: &str = "act-001565aabbcc";
const TONE: f64 = 440.0;
/// Samples of which the loudness is compared, 50 ms.
const WINDOW: usize = 400;

fn loudness(samples: &[i16]) -> Vec<f64> {
    let window = |part: &[i16; WINDOW]| {
        let power: f64 = part.iter().map(|&s| f64::from(s) * f64::from(s)).sum();
        (power / WINDOW as f64).sqrt()
    };
    samples.as_chunks::<WINDOW>().0.iter().map(window).collect()
}

/// Pearson's correlation.
fn likeness(one: &[f64], other: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (a, b) = (mean(one), mean(other));
    let pairs = || one.iter().zip(other).map(|(x, y)| (x - a, y - b));
    let together: f64 = pairs().map(|(x, y)| x * y).sum();
    let apart: f64 =
        pairs().map(|(x, _)| x * x).sum::<f64>() * pairs().map(|(_, y)| y * y).sum::<f64>();
    together / apart.sqrt()
}

/// How much like these words what was heard is, wherever they begin in it.
fn resembles(heard: &[i16], words: Announcement) -> f64 {
    let clip = words.built_in();
    let octets = (0..clip.frames()).flat_map(|n| clip.frame(Law::Mu, n).to_vec());
    let said: Vec<i16> = octets
        .map(|octet| g711::MULAW[usize::from(octet)])
        .collect();
    let said = loudness(&said);
    let starts = (0..WINDOW).step_by(80);
    let best = starts.flat_map(|skip| {
        let heard = loudness(heard.get(skip..).unwrap_or_default());
        let likenesses: Vec<f64> = heard
            .windows(said.len())
            .map(|part| likeness(part, &said))
            .collect();
        likenesses
    });
    best.fold(0.0, f64::max)
}

async fn hears(telephone: &Telephone, words: Announcement) {
    let from = Instant::now();
    loop {
        let heard = telephone.heard().pop().map(|file| sound::samples(&file));
        let likeness = resembles(&heard.unwrap_or_default(), words);
        if likeness > 0.9 {
            return;
        }
        assert!(from.elapsed() < PATIENCE, "{words:?}: {likeness}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// D-21: by UDP, TCP and TLS it registers with credentials, calls its activation and is asked for its code in words; who hangs
/// up then is counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_telephone_out_of_its_box() {
    for (transport, port) in [("udp", 5060), ("tcp", 5060), ("tls", 5061)] {
        let lab = Lab::open();
        let setup = Setup {
            desk: true,
            ..Setup::default()
        };
        let sbc = Sbc::start_with(&lab, setup).await;
        let at = format!("{}:{port}", lab.sbc());
        let account = format!(
            "<sip:{NAME}@{at};transport={transport}>;auth_user={NAME};auth_pass={UNBOXED};\
             regint=120;audio_codecs=pcmu;outbound=\"sip:{at};transport={transport}\"\n"
        );
        let telephone = Telephone::start_as(&lab, &account, TONE).await;
        sbc.reaches("tollgate_phones_registered", 1.0).await;
        telephone.dial(&format!("sip:activate@{at};transport={transport}"));
        hears(&telephone, Announcement::ActivationEnter).await;
        telephone.hang_up();
        sbc.reaches("tollgate_phone_activations_total", 1.0).await;
        sbc.stop().await;
    }
}
