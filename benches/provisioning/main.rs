//! What many customers cost: `cargo bench --bench provisioning`, with 100,000 customers, 2,000,000 numbers and as many
//! trunks as customers, each asked with OPTIONS. `-- --customers 1000 --numbers 20000` takes others; with `--folder PATH` the
//! database stays there, and is taken as it is if it is there already.
//!
//! A program of its own fills the database, so that the memory of this one is that of a start. All goes through the functions
//! that the API uses. What comes out is one JSON object; times are in milliseconds where the name does not say otherwise.

#[allow(clippy::unwrap_used, reason = "not all of a test is inside #[test]")]
#[path = "../../tests/it/sim/mod.rs"]
mod sim;

mod calls;
mod fill;
mod lists;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate::directory::{Config, Number};
use tollgate::store::{NewNumber, Store, customers, numbers};
use tollgate::sync::{Asker, Syncs};
use uuid::Uuid;

/// What is in the database.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    customers: u32,
    numbers: u32,
}

struct Arguments {
    size: Size,
    folder: Option<PathBuf>,
    fills: bool,
}

fn arguments() -> Arguments {
    let mut read = Arguments {
        size: Size {
            customers: 100_000,
            numbers: 2_000_000,
        },
        folder: None,
        fills: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut count = || words.next().and_then(|n| n.parse().ok()).expect("a number");
        match word.as_str() {
            "--customers" => read.size.customers = count(),
            "--numbers" => read.size.numbers = count(),
            "--folder" => read.folder = words.next().map(PathBuf::from),
            "--fill" => read.fills = true,
            // What `cargo bench` says to every benchmark.
            "--bench" => {}
            other => panic!("{other} is no argument"),
        }
    }
    read
}

#[tokio::main]
async fn main() {
    let Arguments {
        size,
        folder,
        fills,
    } = arguments();
    if fills {
        let folder = folder.expect("where to");
        println!("{}", fill::fill(&folder, size).await);
        return;
    }
    let passing = tempfile::tempdir().expect("room for a folder");
    let folder = folder.unwrap_or_else(|| passing.path().to_owned());
    let mut figures = json!({ "customers": size.customers, "numbers": size.numbers });
    if !fill::database(&folder).exists() {
        figures["fill"] = filled_by_another(&folder, size);
    }
    let (store, started) = start(&folder).await;
    figures["start"] = started;
    figures["lists"] = lists::measure(&store, size).await;
    let (sync, swap) = calls::beside(&store, size).await;
    figures["sync"] = sync;
    figures["swap"] = swap;
    figures["memory"] = memory();
    println!("{figures:#}");
    store.close().await;
}

fn filled_by_another(folder: &Path, size: Size) -> Value {
    let program = std::env::current_exe().expect("a program");
    let output = Command::new(program)
        .arg("--fill")
        .arg("--customers")
        .arg(size.customers.to_string())
        .arg("--numbers")
        .arg(size.numbers.to_string())
        .arg("--folder")
        .arg(folder)
        .stderr(std::process::Stdio::inherit())
        .output()
        .expect("it starts");
    serde_json::from_slice(&output.stdout).expect("figures")
}

async fn start(folder: &Path) -> (Store, Value) {
    let begun = Instant::now();
    let store = Store::open(&fill::database(folder), Config::default()).await;
    let store = store.expect("a sound database");
    let seconds = begun.elapsed().as_secs_f64();
    let directory = store.directory().load_full();
    let figures = json!({
        "seconds": seconds,
        "customers": directory.customers().count(),
        "numbers": directory.numbers().count(),
        "memory": memory(),
    });
    (store, figures)
}

/// MiB that this process has, and the most that it had.
fn memory() -> Value {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let mib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.expect("a number") / 1024
    };
    json!({ "resident_mib": mib("VmRSS:"), "most_mib": mib("VmHWM:") })
}

/// Customer `index`, whose id the database has made up.
pub async fn customer(store: &Store, index: u32) -> Uuid {
    let mut connection = store.read().await.expect("a connection");
    let filter = tollgate::store::CustomerFilter {
        text: Some(fill::account(index)),
        ..Default::default()
    };
    let found = customers::list(&mut connection, &filter, Default::default()).await;
    found
        .expect("a list")
        .items
        .first()
        .expect("it is there")
        .id
}

/// A number more for a customer, and a Sync; how long that took, until calls obey it.
pub async fn change(store: &Store, syncs: &Syncs, customer: Uuid, number: Number) -> Duration {
    let begun = Instant::now();
    let mut change = store.change().await.expect("nobody else writes");
    let new = NewNumber::from(number);
    let added = numbers::insert(&mut change, customer, &new).await;
    added.expect("it is free");
    change.keep().await.expect("a sound change");
    let nobody = Asker {
        token: Uuid::nil(),
        of_customer: false,
    };
    let task = syncs.begin(customer, nobody).await.expect("its turn");
    let over = syncs.wait(task.id, Duration::from_secs(600)).await;
    let state = over.expect("a sound database").expect("it is there").state;
    assert!(state.is_over(), "a Sync takes minutes");
    let took = begun.elapsed();
    let directory = store.directory().load_full();
    let serves = directory.number(&number).is_some_and(|n| n.in_service);
    assert!(serves, "calls do not obey it");
    took
}

/// Of many times, in milliseconds.
pub fn summary(mut times: Vec<Duration>) -> Value {
    times.sort_unstable();
    let milli = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    let at = |share: f64| milli(times[((times.len() - 1) as f64 * share).round() as usize]);
    json!({ "times": times.len(), "median": at(0.5), "p99": at(0.99), "max": at(1.0) })
}
