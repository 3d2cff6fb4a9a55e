//! Which requirements of Teams Direct Routing are shown by a test, and why the others are not.
//!
//! `coverage/tdr.txt` lists them. A test shows the items that its doc comment names.

#![allow(clippy::unwrap_used)] // not all of a test is inside #[test]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Doc comments of tests, in `src` and `tests`, that name an item, and scenarios of the conformance suite, all of which
/// are played against Tollgate.
fn named() -> BTreeMap<u32, usize> {
    let mut named = BTreeMap::new();
    for scenario in tollgate::emulate::conform::ALL {
        for item in scenario.items.iter().flat_map(|item| items_in(item)) {
            *named.entry(item).or_default() += 1;
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                for item in items_of_tests(&std::fs::read_to_string(path).unwrap()) {
                    *named.entry(item).or_default() += 1;
                }
            }
        }
    }
    named
}

/// The items that doc comments right above tests name, once for each test.
fn items_of_tests(source: &str) -> Vec<u32> {
    let mut items = Vec::new();
    let mut comment = String::new();
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            comment += text;
        } else if ["#[test", "#[tokio::test"]
            .iter()
            .any(|start| line.starts_with(start))
        {
            items.extend(items_in(&comment));
        } else if !line.starts_with("#[") {
            comment.clear();
        }
    }
    items
}

/// `TDR-711`, and `TDR-704..707` for a range.
fn items_in(text: &str) -> BTreeSet<u32> {
    let number = |text: &str| -> Option<(u32, usize)> {
        let length = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        Some((text[..length].parse().ok()?, length))
    };
    let mut items = BTreeSet::new();
    for part in text.split("TDR-").skip(1) {
        let Some((first, length)) = number(part) else {
            continue;
        };
        let last = part[length..].strip_prefix("..").and_then(number);
        items.extend(first..=last.map_or(first, |(last, _)| last));
    }
    items
}

/// Number, what it is about, and why no test names it.
fn listed() -> BTreeMap<u32, (&'static str, Option<&'static str>)> {
    include_str!("coverage/tdr.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut fields = line.split('|').map(str::trim);
            let number = fields.next().unwrap().parse().unwrap();
            let (about, why) = (fields.next().unwrap(), fields.next().unwrap());
            (number, (about, Some(why).filter(|why| !why.is_empty())))
        })
        .collect()
}

/// Every item is shown by a test or explained, and never both. With `--nocapture`, prints the table.
#[test]
fn every_requirement_of_teams_is_shown_or_explained() {
    let (named, listed) = (named(), listed());
    let mut wrong = Vec::new();
    for (number, (about, why)) in &listed {
        let tests = named.get(number).copied().unwrap_or_default();
        match (tests, why) {
            (0, None) => wrong.push(format!(
                "TDR-{number} ({about}) has neither test nor reason"
            )),
            (0, Some(why)) => println!("TDR-{number:<5} {about}: no test, {why}"),
            (tests, None) => println!("TDR-{number:<5} {about}: {tests} tests"),
            (_, Some(_)) => wrong.push(format!("TDR-{number} ({about}) has a test and a reason")),
        }
    }
    let shown = listed
        .keys()
        .filter(|item| named.contains_key(item))
        .count();
    println!(
        "{shown} of {} items of Teams Direct Routing are shown by tests",
        listed.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Only doc comments of tests count, and ranges are counted whole.
#[test]
fn doc_comments_of_tests_are_found() {
    let source = "/// A rule (TDR-101).\nfn no_test() {}\n\n/// Two, TDR-704..706 and\n/// TDR-711.\n#[test]\n#[cfg(x)]\nfn a() {}\n";
    assert_eq!(items_of_tests(source), [704, 705, 706, 711]);
}
