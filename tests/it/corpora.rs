//! Where messages, descriptions and vectors lie that others wrote. They are no part of the project, and a clone
//! without them passes too.

use std::path::{Path, PathBuf};

/// The file or folder of this name in the corpora: those of `TOLLGATE_CORPORA`, or else of `../shared/corpora`.
/// `None`, with a notice, where it is absent; the test that asked then has nothing to show.
pub fn find(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora");
    let path = std::env::var_os("TOLLGATE_CORPORA")
        .map_or_else(beside, PathBuf::from)
        .join(name);
    if !path.exists() {
        eprintln!("skipped: no corpus at {}", path.display());
        return None;
    }
    Some(path)
}

/// Every file below the folder whose name ends so, in order. Empty, with a notice, where the folder is absent.
pub fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = find(folder).into_iter().collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a corpus folder can be read") {
            let path = entry.expect("a corpus folder can be read").path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.to_string_lossy().ends_with(ending) => found.push(path),
                false => {}
            }
        }
    }
    found.sort();
    found
}

/// An absent corpus is skipped, and a name is found at any depth.
#[test]
fn an_absent_corpus_is_skipped() {
    assert_eq!(find("no such corpus"), None);
    assert!(files("no such corpus", ".sip").is_empty());
    if find("torture").is_some() {
        assert!(files("torture", ".sip").len() > 60);
    }
}
