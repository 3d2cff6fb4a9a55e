//! The conformance scenarios must be able to fail: each runs against an SBC that does one thing wrong, and has to say
//! which item that is. (`tests/it/demo.rs` shows that they pass against one that does nothing wrong.)

#![allow(clippy::unwrap_used)] // not all of a test is inside #[test]

mod faults;
mod lab;
mod middle;

use std::collections::BTreeSet;
use std::sync::Arc;

use faults::{FAULTS, Fault};
use lab::Lab;
use middle::{Flaw, honest};
use tollgate::emulate::conform::{ALL, find};

/// Every scenario has its fault.
#[test]
fn every_scenario_can_fail() {
    let all: BTreeSet<_> = ALL.iter().map(|scenario| scenario.name).collect();
    let faulty: BTreeSet<_> = FAULTS.iter().map(|fault| fault.scenario).collect();
    assert_eq!(all, faulty);
}

/// The scenarios whose fault stands in this part of the table fail for that fault's reason, and are told apart from
/// what is right: the middle man changes nothing between two faults.
async fn fail(media_bypass: bool, part: usize, parts: usize) {
    let lab = Lab::start(media_bypass).await;
    let mut wrong = Vec::new();
    let faults = FAULTS
        .iter()
        .map(|fault| (fault, find(fault.scenario).unwrap()));
    let suiting = faults.filter(|(_, scenario)| scenario.suits(&lab.bench.facts));
    for (fault, scenario) in suiting.skip(part).step_by(parts) {
        lab.middle.turn(fault.flaw, twist(fault));
        // Connections that are open already are those of the fault before.
        lab.bench.teams.hang_up_connections().await;
        let row = scenario.run(&lab.bench).await;
        lab.middle.turn(Flaw::Nothing, honest());
        lab.bench.teams.hang_up_connections().await;
        if !row
            .findings()
            .iter()
            .any(|finding| finding.item == fault.item)
        {
            wrong.push(format!(
                "{} should be {}: {row}",
                fault.scenario, fault.item
            ));
        }
    }
    lab.close().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A fault that is about the first or second of something counts anew each time.
fn twist(fault: &Fault) -> middle::Twist {
    let count = std::sync::atomic::AtomicUsize::new(0);
    let twist = fault.twist;
    Arc::new(move |to, text| twist(to, text, &count))
}

/// Labs at once, besides that with media bypass.
const PARTS: usize = 3;

/// TDR-840 to TDR-844: those about media bypass, with a trunk that has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_faults_of_media_bypass_are_found() {
    fail(true, 0, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_third_of_the_faults_is_found() {
    fail(false, 0, PARTS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_third_of_the_faults_is_found() {
    fail(false, 1, PARTS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_third_of_the_faults_is_found() {
    fail(false, 2, PARTS).await;
}
