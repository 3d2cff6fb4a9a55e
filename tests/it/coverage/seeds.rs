//! Which checks of the five provisioning systems are shown by a test, and which are not.
//!
//! `seeds.txt` lists them. A test shows those with which its name begins (`p_15_p_16_…`), and those that its doc comment
//! names.

use super::{Test, tests};
use std::collections::{BTreeMap, BTreeSet};

/// What the ids begin with, and which of the systems that is.
const SEEDS: [(char, &str); 5] = [
    ('O', "Ooma, activation"),
    ('P', "Ooma, partners' portal"),
    ('T', "TeamMate, enterprises"),
    ('A', "AudioCodes, upgrade"),
    ('D', "8x8, desk telephones"),
];

/// The ids of checks that a test names.
fn ids_of(test: &Test) -> BTreeSet<String> {
    let is_seed = |c: char| SEEDS.iter().any(|(seed, _)| *seed == c);
    let mut ids = BTreeSet::new();
    let parts: Vec<_> = test.name.split('_').collect();
    for pair in parts.as_chunks::<2>().0 {
        let [seed, number] = pair.map(str::to_ascii_uppercase);
        let is_id = seed.len() == 1 && seed.starts_with(is_seed) && is_number(&number);
        if !is_id {
            break;
        }
        ids.insert(format!("{seed}-{number}"));
    }
    let words = test
        .comment
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    ids.extend(
        words
            .filter(|word| {
                let parts = word.split_once('-');
                parts.is_some_and(|(seed, number)| {
                    seed.len() == 1 && seed.starts_with(is_seed) && is_number(number)
                })
            })
            .map(str::to_owned),
    );
    ids
}

fn is_number(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|c| c.is_ascii_digit())
}

/// Id, and what it is about.
fn listed() -> BTreeMap<&'static str, &'static str> {
    include_str!("seeds.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once(" | ").unwrap())
        .collect()
}

/// No test names a check that there is not. With `--nocapture`, prints a line for each system, and what no test shows.
#[test]
fn checks_of_seeds_are_counted() {
    let listed = listed();
    let mut shown = BTreeSet::new();
    let mut wrong = Vec::new();
    for test in tests() {
        for id in ids_of(&test) {
            if listed.contains_key(id.as_str()) {
                shown.insert(id);
            } else {
                wrong.push(format!("{} names {id}, which there is not", test.name));
            }
        }
    }
    for (seed, name) in SEEDS {
        let all = listed.iter().filter(|(id, _)| id.starts_with(seed));
        let (with, without): (Vec<_>, Vec<_>) = all.partition(|(id, _)| shown.contains(**id));
        println!(
            "{name}: {} of {} checks",
            with.len(),
            with.len() + without.len()
        );
        for (id, about) in without {
            println!("  {id} {about}: no test");
        }
        assert!(!with.is_empty(), "{name}: the tests were not found");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A name begins with ids, one after the other; a comment has them anywhere, and what only looks like one is none.
#[test]
fn names_and_comments_are_read() {
    let ids = |name: &str, comment: &str| {
        let test = Test {
            comment: comment.to_owned(),
            name: name.to_owned(),
        };
        ids_of(&test).into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(ids("p_15_p_16_a_number_of_t_18", ""), "P-15 P-16");
    assert_eq!(
        ids("a_number_of_12", "D-21, (D-27) and TDR-101"),
        "D-21 D-27"
    );
    assert_eq!(ids("d_a_phone", "SIP-T46U, A-1, A-100, XA-10, a-10"), "");
}
