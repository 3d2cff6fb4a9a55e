//! Session descriptions: those that others wrote replayed, ours compared with golden files.

mod calls;
#[path = "../../fuzz/properties/description.rs"]
mod rules;

use crate::corpora;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use tollgate::base::Random;
use tollgate::media::{Anchor, SrtpPolicy};
use tollgate::sdp::{Audio, Direction, SdpError, SessionDescription};

/// Of the descriptions that other stacks, RFCs and test suites hold, exactly these are none, and say why.
#[test]
fn descriptions_of_other_stacks_are_read_without_loss() {
    let files = corpora::files("sdp", ".sdp");
    let mut refused = BTreeMap::new();
    let mut offers = 0;
    for path in &files {
        let bytes = std::fs::read(path).expect("a corpus file can be read");
        offers += usize::from(rules::check(&bytes) > 0);
        if let Err(error) = SessionDescription::parse(bytes) {
            let name = path.file_name().expect("a file has a name");
            refused.insert(name.to_string_lossy().into_owned(), error);
        }
    }
    if files.is_empty() {
        return;
    }
    // Templates with words for numbers, a port beyond 65535, a NUL, no v=.
    let expected = [
        ("inc_sdp-01.sdp", SdpError::NotALine(5)),
        ("input.6.sdp", SdpError::MediaLine(6)),
        ("message-1.sdp", SdpError::NoVersion),
        ("rfc5245-02.sdp", SdpError::MediaLine(8)),
        ("rfc5245-04.sdp", SdpError::MediaLine(8)),
        ("rfc6871-03.sdp", SdpError::MediaLine(12)),
        ("rfc8839-02.sdp", SdpError::MediaLine(10)),
        ("rfc8839-04.sdp", SdpError::MediaLine(10)),
        ("sdp-77.sdp", SdpError::StrayControl(2)),
        ("test_soa-26.sdp", SdpError::MediaLine(5)),
    ];
    let expected = expected.map(|(name, error)| (name.to_owned(), error));
    assert_eq!(refused, expected.into());
    let all = files.len();
    eprintln!("{offers} of {all} accepted as offers");
    assert!(
        offers * 2 > all,
        "{offers} of {all}: most of them are telephone calls"
    );
}

/// The corpus reaches the answers, and keeps the rules on the way.
#[test]
fn the_fuzz_corpus_keeps_the_rules() {
    let accepted: usize = fuzz_corpus().iter().map(|bytes| rules::check(bytes)).sum();
    assert!(accepted >= 10, "{accepted}");
}

/// Cut, spliced and overwritten at places drawn from a fixed number, descriptions still keep the rules.
#[test]
fn damaged_descriptions_keep_the_rules() {
    let mut random = Random::from_number(8866);
    let corpus = fuzz_corpus();
    for _ in 0..3000 {
        let mut draw = |limit: usize| random.u32() as usize % limit.max(1);
        let mut bytes = corpus[draw(corpus.len())].clone();
        for _ in 0..=draw(4) {
            let (at, other) = (draw(bytes.len()), &corpus[draw(corpus.len())]);
            let (from, length) = (draw(other.len()), draw(40));
            let piece = &other[from..(from + length).min(other.len())];
            let end = (at + [0, piece.len(), bytes.len()][draw(3)]).min(bytes.len());
            bytes.splice(at..end, piece.iter().copied());
        }
        // A failure prints what was tried.
        let shown = Shown(bytes);
        rules::check(&shown.0);
    }
}

/// Prints what it holds if a test fails meanwhile.
struct Shown(Vec<u8>);

impl Drop for Shown {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("with {:?}", String::from_utf8_lossy(&self.0));
        }
    }
}

/// Our own small corpus, from which the fuzzer starts.
fn fuzz_corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/sdp");
    let entries = std::fs::read_dir(folder).expect("the corpus is part of the project");
    let paths = entries.map(|entry| entry.expect("the corpus can be listed").path());
    let mut paths: Vec<_> = paths.collect();
    paths.sort();
    let read = |path| std::fs::read(path).expect("the corpus can be read");
    paths.into_iter().map(read).collect()
}

/// Offers and answers that another relay was tested with: where its options ask for nothing that we do otherwise, the
/// far side hears of the same codecs under the same numbers, and of the same direction.
#[test]
fn another_relays_pairs_come_out_alike() {
    let Some(path) = corpora::find("sdp/rtpengine-offer-answer.jsonl") else {
        return;
    };
    let text = std::fs::read_to_string(path).expect("the corpus can be read");
    let rows = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a JSON line"));
    let mut call = None;
    let mut legs = None;
    let mut is_plain = true;
    let (mut alike, mut different) = (0, Vec::new());
    for row in rows.skip(1) {
        let word = |key: &str| row[key].as_str().unwrap_or_default();
        // A call with trickled candidates has no address yet, which is no hold there.
        if word("name").starts_with("trickle ICE") {
            continue;
        }
        let this = Some((word("file").to_owned(), row["call"].as_u64()));
        is_plain = asks_nothing_special(word("options")) && (call != this || is_plain);
        call = this;
        let sdp = word("sdp_in");
        rules::check(sdp.as_bytes());
        let ours = match word("op") {
            "offer" => {
                let here = rules::anchor(SrtpPolicy::Optional, "203.0.113.10");
                let there = rules::anchor(SrtpPolicy::Never, "203.0.113.11");
                let (here, there) = legs.insert((here, there));
                offer(here, there, sdp)
            }
            "answer" => legs
                .as_mut()
                .and_then(|(here, there)| answer(here, there, sdp)),
            _ => None,
        };
        let theirs = said(word("sdp_out").replace("PORT", "30000").as_bytes());
        match (ours, theirs) {
            (Some(ours), Some(theirs)) if is_plain => match ours == theirs {
                true => alike += 1,
                false => {
                    different.push((word("file").to_owned(), row["line"].as_u64().unwrap_or(0)))
                }
            },
            _ => {}
        }
    }
    // Its streams with several receivers keep what each of them said; it drops telephone events under another number,
    // and AMR with other parameters.
    let known = |file: &str, line| file.ends_with("tests.pl") && [8051, 9695].contains(&line);
    different.retain(|(file, line)| !file.contains("pubsub") && !known(file, *line));
    assert_eq!(different, []);
    assert!(alike > 600, "{alike}");
}

/// Passes an offer on.
fn offer(here: &mut Anchor, there: &mut Anchor, sdp: &str) -> Option<Said> {
    let offered = here.accept_offer(sdp.as_bytes()).ok()?;
    let direction = offered.effective_direction();
    said(
        &there
            .offer(&offered.codecs, direction, offered.ptime)
            .ok()?,
    )
}

/// Passes an answer back.
fn answer(here: &mut Anchor, there: &mut Anchor, sdp: &str) -> Option<Said> {
    let answered = there.accept_answer(sdp.as_bytes()).ok()?;
    said(
        &here
            .answer(&answered.codecs, answered.effective_direction())
            .ok()?,
    )
}

/// Nothing of transcoding, other packet sizes, or music.
fn asks_nothing_special(options: &str) -> bool {
    let special = ["codec", "T.38", "ptime", "flags", "transport", "moh"];
    !special.iter().any(|word| options.contains(word))
}

/// Codecs by number, and the direction.
type Said = (Vec<(u8, String)>, Direction);

fn said(sdp: &[u8]) -> Option<Said> {
    let description = SessionDescription::parse(sdp.to_vec()).ok()?;
    let audio = Audio::read(&description, 0).ok()?;
    let name = |text: String| text.to_ascii_lowercase();
    let codecs = audio
        .codecs
        .iter()
        .map(|c| (c.payload_type, name(c.to_string())));
    Some((codecs.collect(), audio.effective_direction()))
}
