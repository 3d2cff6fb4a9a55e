//! Files of music.

#[path = "../../fuzz/properties/upload.rs"]
mod property;

/// The committed corpus of the fuzz target passes it: files of every kind that is read, and what breaks them.
#[test]
fn the_corpus_passes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/upload");
    let mut music = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        let came = property::check(&std::fs::read(file.path()).unwrap());
        if came.is_ok() {
            music.push(file.file_name().into_string().unwrap());
        }
    }
    music.sort();
    assert_eq!(music, ["aiff", "flac", "mp3", "wav"]);
}
