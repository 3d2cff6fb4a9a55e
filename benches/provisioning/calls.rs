//! A control plane beside changes: how soon it obeys them, and how long calls wait for it meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate::directory::{Attempt, Directory, Origin};
use tollgate::sip::{Flow, Source, Transport};
use tollgate::store::Store;
use tollgate::sync::Syncs;

use crate::sim::{self, setup::Setup};
use crate::{Size, fill, summary};

/// Syncs of customers of the usual size.
const SYNCS: u32 = 100;
/// Syncs of the largest.
const LARGE: u32 = 5;
/// Changes that everybody sees.
const WHOLE: u32 = 2;
/// Calls that come in beside, each second.
const CALLS: u32 = 1000;

/// What the control plane took, by what it did.
#[derive(Default)]
struct Times {
    /// To follow a directory of which a customer was changed.
    followed: Vec<Duration>,
    /// Whose call it is and where it goes, with what had to be followed before.
    admitted: Vec<Duration>,
}

/// Syncs, and changes that everybody sees, while calls come in.
pub async fn beside(store: &Store, size: Size) -> (Value, Value) {
    let over = Arc::new(AtomicBool::new(false));
    let started = Arc::new(AtomicBool::new(false));
    let plane = {
        let (directory, over, started) = (store.directory(), over.clone(), started.clone());
        thread::spawn(move || {
            let setup = Setup::default();
            let begun = Instant::now();
            let first = directory.load_full();
            let mut generation = first.generation;
            let mut calls = sim::control_plane(setup.config, setup.endpoint, first, begun);
            let took_over = begun.elapsed();
            started.store(true, Ordering::Relaxed);
            let (mut times, mut serial) = (Times::default(), 0_u32);
            while !over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let newest = directory.load();
                if newest.generation != generation {
                    generation = newest.generation;
                    calls.set_directory(Arc::clone(&newest), begun);
                    times.followed.push(begun.elapsed());
                }
                serial = serial.wrapping_add(1);
                let index = serial.wrapping_mul(7919) % size.customers;
                admit(&newest, index, size, serial % 2 == 0);
                times.admitted.push(begun.elapsed());
                drop(newest);
                thread::sleep(Duration::from_secs(1) / CALLS);
            }
            (took_over, times)
        })
    };
    while !started.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let sync = syncs(store, size).await;
    let begun = Instant::now();
    for _ in 0..WHOLE {
        let change = store.change().await.expect("nobody else writes");
        change.publish().await.expect("rows that fit together");
        // Until the last who has the one before gives it back.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let whole = (begun.elapsed().as_secs_f64() - 2.0 * f64::from(WHOLE)) / f64::from(WHOLE);
    over.store(true, Ordering::Relaxed);
    let (took_over, times) = plane.join().expect("it does not panic");
    let swap = json!({
        "control_plane_begins": summary(vec![took_over]),
        "publish_all_seconds": whole,
        "directories_followed": summary(times.followed),
        "calls_admitted": summary(times.admitted),
    });
    (sync, swap)
}

/// One call, from Teams or from the exchange.
fn admit(directory: &Directory, index: u32, size: Size, from_teams: bool) {
    let Some(first) = fill::numbers_of(index, size).next() else {
        return;
    };
    let own = fill::number(first).to_string();
    let host = fill::gateway(index);
    let origin = match from_teams {
        true => Origin::Teams,
        false => {
            let source = Source {
                transport: Transport::Udp,
                flow: Flow(0),
                remote: format!("{}:5060", fill::exchange(index))
                    .parse()
                    .expect("an address"),
                local: sim::sbc(Transport::Udp),
                certificate: None,
            };
            directory.origin(&source).expect("a trunk's address")
        }
    };
    let admission = directory.admit(&Attempt {
        origin: &origin,
        request_host: &host,
        called: if from_teams { "+493012345678" } else { &own },
        caller: if from_teams { &own } else { "+493012345678" },
        random: u64::from(index),
    });
    admission.expect("a call that passes");
}

async fn syncs(store: &Store, size: Size) -> Value {
    let syncs = Syncs::new(store.clone(), None, Duration::from_secs(5), None);
    let mut free = fill::stock(size).end + 1;
    let mut of = async |index: u32, times: u32| {
        let customer = crate::customer(store, index).await;
        let mut took = Vec::new();
        for _ in 0..times {
            // One that a run before has left is somebody's already.
            while store
                .directory()
                .load()
                .number(&fill::number(free))
                .is_some()
            {
                free += 1;
            }
            let number = fill::number(free);
            free += 1;
            took.push(crate::change(store, &syncs, customer, number).await);
        }
        summary(took)
    };
    let usual = of(size.customers / 2, SYNCS).await;
    let largest = of(0, LARGE).await;
    json!({ "usual_customer": usual, "largest_customer": largest })
}
