//! RTP and SRTP as a media port meets them: the fuzz targets' corpora, and packets damaged at random.

#![allow(clippy::unwrap_used)] // not all of a test is inside #[test]

use proptest::prelude::*;
use std::path::Path;

#[path = "../../fuzz/properties/rtp.rs"]
mod plain;
#[path = "../../fuzz/properties/srtp.rs"]
mod secret;

/// What keeps the rules of a property.
type Property = fn(&[u8]) -> bool;

fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let files = std::fs::read_dir(folder.join(name)).unwrap();
    let mut all: Vec<_> = files
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect();
    all.sort();
    all
}

/// The committed corpora pass: those that are named for what is wrong with them are refused, and all others are taken, in
/// every suite of SDES, RTP and RTCP.
#[test]
fn the_fuzz_corpora_pass() {
    for (name, property) in [("rtp", plain::check as Property), ("srtp", secret::check)] {
        let corpus = corpus(name);
        assert!(corpus.len() >= 10, "{name}");
        for (file, bytes) in corpus {
            let is_bad = ["cut", "forged", "not_", "huge"]
                .iter()
                .any(|w| file.starts_with(w));
            assert_eq!(property(&bytes), !is_bad, "{name}/{file}");
        }
    }
}

proptest! {
    /// Whatever bytes change, go missing or come in addition, the rules hold.
    #[test]
    fn damaged_packets_keep_the_rules(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        behind in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        for (name, property) in [("rtp", plain::check as Property), ("srtp", secret::check)] {
            let corpus = corpus(name);
            let mut bytes = which.get(&corpus).1.clone();
            for (at, byte) in &changes {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = *byte;
                }
            }
            property(&bytes);
            bytes.truncate(cut.index(bytes.len() + 1));
            bytes.extend(&behind);
            property(&bytes);
        }
    }
}
