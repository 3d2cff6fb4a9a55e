//! Which requirements of Teams Direct Routing are shown by a test, and why the others are not.
//!
//! `coverage/tdr.txt` lists them. A test shows the items that its doc comment names.

#![allow(clippy::unwrap_used)] // not all of a test is inside #[test]

mod seeds;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Doc comments of tests that name an item, and scenarios of the conformance suite, all of which are played against
/// Tollgate.
fn named() -> BTreeMap<u32, usize> {
    let mut named = BTreeMap::new();
    let scenarios = tollgate::emulate::conform::ALL.iter();
    let scenarios =
        scenarios.flat_map(|scenario| scenario.items.iter().copied().flat_map(items_in));
    let tests = tests();
    for item in scenarios.chain(tests.iter().flat_map(|test| items_in(&test.comment))) {
        *named.entry(item).or_default() += 1;
    }
    named
}

/// A test as its source has it.
#[derive(Debug, PartialEq, Eq)]
struct Test {
    /// Its doc comment, the lines one after the other.
    comment: String,
    name: String,
}

/// All tests in `src` and `tests`.
fn tests() -> Vec<Test> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("tests")];
    let mut tests = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                tests.extend(tests_in(&std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    tests
}

/// The tests of a source.
fn tests_in(source: &str) -> Vec<Test> {
    let mut tests = Vec::new();
    let (mut comment, mut is_test) = (String::new(), false);
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            comment += text;
        } else if ["#[test", "#[tokio::test"]
            .iter()
            .any(|start| line.starts_with(start))
        {
            is_test = true;
        } else if !line.starts_with("#[") {
            let function = line.split_once("fn ").filter(|_| is_test);
            if let Some((_, rest)) = function {
                tests.push(Test {
                    comment: std::mem::take(&mut comment),
                    name: rest.split('(').next().unwrap().to_owned(),
                });
                is_test = false;
            } else if !is_test {
                comment.clear();
            }
        }
    }
    tests
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
    let source = "/// A rule (TDR-101).\nfn no_test() {}\n\n/// Two, TDR-704..706 and\n/// TDR-711.\n#[test]\n#[cfg(x)]\nasync fn a(x: u8) {}\n/// TDR-1\nfn no_test_either() {}\n";
    let tests = tests_in(source);
    assert_eq!((tests.len(), tests[0].name.as_str()), (1, "a"));
    let items: Vec<_> = items_in(&tests[0].comment).into_iter().collect();
    assert_eq!(items, [704, 705, 706, 711]);
}
