//! The files that desk telephones fetch, family by family.

#![allow(clippy::unwrap_used)] // not all of a test is inside #[test]

#[path = "../../fuzz/properties/phone_file.rs"]
mod property;

use tollgate::directory::Secret;
use tollgate::provisioning::device::{Family, Mac, PhoneTransport};
use tollgate::provisioning::phone_file::{Line, Site, own, pointer};

/// One text of all that a telephone of a family fetches.
fn all(family: Family, mac: Mac) -> String {
    let site = Site {
        base_url: "https://prov.example.net/prov/".into(),
        host: "sbc.example.net".into(),
        port: 5061,
        transport: PhoneTransport::Tls,
        expires_s: 3601,
    };
    let line = Line {
        mac,
        label: "1001".into(),
        display_name: "Zoë & Söhne <\"李\">".into(),
        user: "1001-abcdefgh".into(),
        password: Secret::new("s1p-s3cret"),
        hotline: None,
        admin: Some(Secret::new("adm1n-s3cret")),
        file: Some(Secret::new("f1le-s3cret")),
    };
    let bootstrap = Line::bootstrap(mac, Secret::new("b00tstrap"));
    let files = [
        ("common", pointer(family, &site, None)),
        ("pointer", pointer(family, &site, Some(mac))),
        ("bootstrap", Some(own(family, &site, &bootstrap))),
        ("own", Some(own(family, &site, &line))),
    ];
    let there = files
        .into_iter()
        .filter_map(|(name, file)| Some((name, file?)));
    there
        .map(|(name, file)| format!("==== {name}\n{file}"))
        .collect()
}

/// Regenerate with `TOLLGATE_BLESS=1 cargo test --test it phone_files::`.
#[test]
fn files_are_the_golden_ones() {
    for (family, mac) in [
        (Family::Yealink, "001565aabbcc"),
        (Family::Polycom, "0004f2aabbcc"),
        (Family::Grandstream, "000b82aabbcc"),
        (Family::Cisco, "000e08aabbcc"),
        (Family::Snom, "000413aabbcc"),
        (Family::Generic, "02aabbccddee"),
    ] {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/golden/phones");
        let golden = format!("{folder}/{}.txt", family.name());
        let now = all(family, mac.parse().unwrap());
        if std::env::var_os("TOLLGATE_BLESS").is_some() {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(&golden, &now).unwrap();
        }
        let then = std::fs::read_to_string(&golden).unwrap_or_default();
        assert!(then == now, "differs from {golden}:\n{now}");
    }
}

/// The committed corpus of the fuzz target passes it: a name of each family, and what is none.
#[test]
fn the_corpus_passes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/phone_file");
    let mut names = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        if property::check(&std::fs::read(file.path()).unwrap()) {
            names.push(file.file_name().into_string().unwrap());
        }
    }
    names.sort();
    let expected = [
        "cisco",
        "common",
        "generic",
        "grandstream",
        "polycom",
        "snom",
        "yealink",
    ];
    assert_eq!(names, expected);
}
