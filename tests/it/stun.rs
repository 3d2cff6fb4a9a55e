//! STUN as a media port meets it: the fuzz target's corpus, and checks damaged at random.

#![allow(clippy::unwrap_used)] // not all of a test is inside #[test]

use crate::corpora;
use proptest::prelude::*;
use serde_json::Value;
use std::path::Path;
use tollgate::rtp::stun::{Key, Message};

#[path = "../../fuzz/properties/stun.rs"]
mod rules;

fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/stun");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.collect();
    files.sort();
    let named = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, std::fs::read(path).unwrap())
    };
    files.iter().map(named).collect()
}

/// All of the corpus but what was cut is read, printed and read as the same, and answered by the rules.
#[test]
fn the_fuzz_corpus_keeps_the_rules() {
    let none: Vec<String> = corpus()
        .into_iter()
        .filter(|(_, bytes)| !rules::check(bytes))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(none, ["cut"]);
}

fn hex(text: &Value) -> Vec<u8> {
    let digits = text.as_str().unwrap().as_bytes();
    let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// The vectors of RFC 5769 and the seeds of another stack's fuzzers, as others collected them.
#[test]
fn what_others_collected_keeps_the_rules() {
    let Some(path) = corpora::find("vectors") else {
        return;
    };
    let text = std::fs::read_to_string(path.join("stun.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    let list = |name: &str| all[name].as_array().unwrap().clone();
    let mut authentic = 0;
    for vector in list("vectors") {
        let bytes = hex(&vector["hex"]);
        assert!(rules::check(&bytes), "{vector}");
        let message = Message::parse(&bytes).unwrap();
        if let Some(password) = vector["password"].as_str() {
            assert!(
                message.is_authentic(&Key::new(password.as_bytes())),
                "{vector}"
            );
            authentic += 1;
        }
        if let Some(mapped) = vector["xor_mapped"].as_str() {
            assert_eq!(message.mapped(), Some(mapped.parse().unwrap()));
        }
    }
    assert_eq!(authentic, 3);
    for seed in list("seeds").iter().chain(&list("as_printed_inconsistent")) {
        rules::check(&hex(&seed["hex"]));
    }
}

proptest! {
    /// Whatever bytes change, go missing or come twice: nothing panics, and no stranger hears more than it said.
    #[test]
    fn damaged_messages_keep_the_rules(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        behind in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let corpus = corpus();
        let mut bytes = which.get(&corpus).1.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        rules::check(&bytes);
        bytes.truncate(cut.index(bytes.len() + 1));
        bytes.extend(behind);
        rules::check(&bytes);
    }

    /// So does what begins like a message and is anything.
    #[test]
    fn random_attributes_keep_the_rules(words in prop::collection::vec(any::<[u8; 4]>(), 0..60)) {
        let mut bytes = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        bytes.extend([7; 12]);
        bytes.extend(words.concat());
        let length = (bytes.len() - 20) as u16;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        rules::check(&bytes);
    }
}
