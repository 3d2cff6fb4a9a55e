//! Many calls at once of peers that do anything at any time; what is asked of them is also a target for fuzzing.

use tollgate::base::Random;

#[path = "../../../fuzz/properties/calls.rs"]
mod calls;

/// Runs with this many seeds, from `TOLLGATE_SEED` on; the one that fails is printed.
const SEEDS: u64 = 25;

#[test]
fn whatever_happens_nothing_is_left() {
    let first = match std::env::var("TOLLGATE_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => 0,
    };
    let (mut answered, mut replaced, mut transferred) = (0, 0, 0);
    for seed in first..first + SEEDS {
        println!("TOLLGATE_SEED={seed}");
        let seen = calls::check(&Random::from_number(seed).bytes::<1200>());
        answered += seen.answered;
        replaced += seen.replaced;
        transferred += seen.transferred;
    }
    // Else nothing was tested.
    assert!(
        answered > SEEDS as usize,
        "only {answered} calls were answered"
    );
    let moved = format!("{replaced} replaced, {transferred} transferred");
    assert!(replaced + transferred > 0, "{moved}");
}

/// Bytes that a fuzzer came by.
#[test]
fn what_was_found_once_is_found_no_more() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/calls");
    let mut count = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        calls::check(&std::fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 0, "the corpus is empty");
}
