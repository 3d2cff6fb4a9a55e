//! What a whole call costs the control plane: set up, ringing, answered, ended, 14 messages and what goes with them, in
//! process on one core, between a simulated Teams and a simulated PBX. `cargo bench --bench call`.
//!
//! The figure to keep: 100 µs a call.

#[allow(clippy::unwrap_used, reason = "not all of a test is inside #[test]")]
#[path = "../tests/it/sim/mod.rs"]
mod sim;

use std::time::Duration;

use sim::World;
use sim::setup::{PBX, TEAMS};
use tollgate::sip::Method;

const WARM_UP: u32 = 100;
const CALLS: u32 = 1_000;

fn main() {
    for (name, from, to) in [("Teams to PBX", TEAMS, PBX), ("PBX to Teams", PBX, TEAMS)] {
        let mut world = World::new();
        for _ in 0..WARM_UP {
            call(&mut world, from, to);
        }
        let mut times: Vec<Duration> = (0..CALLS).map(|_| call(&mut world, from, to)).collect();
        times.sort();
        let total: Duration = times.iter().sum();
        let (best, median) = (times[0], times[times.len() / 2]);
        let rate = f64::from(CALLS) / total.as_secs_f64();
        println!("{name}: best {best:?}, median {median:?}, {rate:.0} calls/s on one core");
        let records = world.finish_all().len();
        assert_eq!(records, (WARM_UP + CALLS) as usize);
    }
}

/// One call; the time that the SBC took for it.
fn call(world: &mut World, from: usize, to: usize) -> Duration {
    let before = world.spent;
    let a = world.dial(from);
    let b = world.incoming(to);
    world.ring(b);
    world.provisional(a);
    world.answer(b);
    world.outcome(a);
    world.acknowledged(b);
    world.send(a, Method::Bye, None, |_| {});
    world.hung_up(b);
    world.outcome_of(a, Method::Bye);
    // The last answer and the relay's reports.
    world.pass(Duration::from_millis(100));
    world.spent - before
}
