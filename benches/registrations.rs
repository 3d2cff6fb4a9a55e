//! What 100,000 users registered at their exchanges cost: `cargo bench --bench registrations`.
//!
//! A registrar that asks for credentials once and grants an hour answers at once, in virtual time; what is measured is the
//! control plane's own time, and the memory of the process. `REGISTRATIONS` says how many others.
//!
//! The figures to keep, for 100,000: all registered 500 s after a start at 200 a second, less than 2 KiB each, less than
//! a hundredth of a core while nothing else happens.

#[allow(clippy::unwrap_used, reason = "not all of a test is inside #[test]")]
#[path = "../tests/it/sim/mod.rs"]
mod sim;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sim::sbc;
use sim::setup::{Setup, exchange, line};
use tollgate::b2bua::{Calls, Output, RegistrationState};
use tollgate::directory::Directory;
use tollgate::sip::{Builder, Flow, Message, Method, Name, ResolveId, Source, Target, Transport};

const HOUR: Duration = Duration::from_secs(3600);

struct Bench {
    calls: Calls,
    now: Instant,
    source: Source,
    /// What the control plane took.
    spent: Duration,
    registers: u64,
}

impl Bench {
    /// Whatever is due until then, answered at once.
    fn run(&mut self, until: Instant, mut done: impl FnMut(&Calls) -> bool) -> Instant {
        while let Some(at) = self.calls.deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            let now = self.now;
            self.timed(|calls| calls.expire(now));
            self.answer();
            if done(&self.calls) {
                break;
            }
        }
        self.now
    }

    fn timed<T>(&mut self, act: impl FnOnce(&mut Calls) -> T) -> T {
        let begun = Instant::now();
        let result = act(&mut self.calls);
        self.spent += begun.elapsed();
        result
    }

    fn answer(&mut self) {
        while let Some(output) = self.timed(Calls::poll) {
            match output {
                Output::Send { bytes, .. } => {
                    let request = Message::parse_datagram(bytes).expect("a message of ours");
                    if let Some(response) = self.registrar(&request) {
                        let (bytes, source, now) =
                            (response.bytes().clone(), self.source.clone(), self.now);
                        self.timed(|calls| calls.receive(bytes, source, now));
                    }
                }
                Output::Resolve { id, .. } => self.resolve(id),
                _ => {}
            }
        }
    }

    fn resolve(&mut self, id: ResolveId) {
        let target = Target {
            transport: Transport::Udp,
            address: self.source.remote,
            name: "pbx".into(),
            realm: tollgate::sip::Realm::Trunk,
        };
        let now = self.now;
        self.timed(|calls| calls.resolved(id, Ok(vec![target]), now));
    }

    fn registrar(&mut self, request: &Message) -> Option<Message> {
        if !request.is_request() || request.method() != Method::Register {
            return None;
        }
        self.registers += 1;
        let mut draft;
        if request.header(Name::Authorization).is_some() {
            draft = Builder::response(request, 200, "");
            draft.header(Name::Expires, "3600");
        } else {
            draft = Builder::response(request, 401, "");
            draft.header(
                Name::WwwAuthenticate,
                "Digest realm=\"pbx.example\", nonce=\"0123456789abcdef0123456789abcdef\", qop=\"auth\"",
            );
        }
        Some(draft.to_tag("bench").finish(None))
    }
}

/// Bytes of memory that this process has.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = text.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok());
    pages.expect("a number") * 4096
}

fn main() {
    let asked = std::env::var("REGISTRATIONS").ok();
    let number: u32 = asked.and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let (mut setup, pbx) = (Setup::default(), Arc::new(exchange()));
    setup.rows.registrations = (1..=number).map(|n| line(n, &[], &pbx)).collect();
    setup.config.registrations.most = number as usize;
    let before = resident();
    let directory = Arc::new(Directory::compile(setup.rows).expect("rows that fit together"));
    let with_directory = resident();
    let start = Instant::now();
    let calls = sim::control_plane(setup.config, setup.endpoint, directory, start);
    let mut bench = Bench {
        calls,
        now: start,
        source: Source {
            transport: Transport::Udp,
            flow: Flow(0),
            remote: "192.0.2.10:5060".parse().expect("an address"),
            local: sbc(Transport::Udp),
            certificate: None,
        },
        spent: start.elapsed(),
        registers: 0,
    };
    println!(
        "{number} registrations taken over from the directory in {:?}",
        bench.spent
    );

    let begun = bench.spent;
    let all = |calls: &Calls| {
        let (states, _) = calls.registration_census();
        states.get(&RegistrationState::Registered) == Some(&number)
    };
    let done = bench.run(start + HOUR, all);
    let spent = bench.spent - begun;
    println!(
        "all registered {:.1} s after the start at 200 a second, {} REGISTERs; {:?} each, {:.0} registrations/s on one core",
        (done - start).as_secs_f64(),
        bench.registers,
        spent / number,
        f64::from(number) / spent.as_secs_f64(),
    );
    // Until the last transaction is over.
    let settled = bench
        .run(done + Duration::from_secs(60), |_| false)
        .max(done);
    println!(
        "{} bytes each in the directory, {} in the control plane",
        (with_directory - before) / u64::from(number),
        resident().saturating_sub(with_directory) / u64::from(number),
    );

    let (begun, registers) = (bench.spent, bench.registers);
    bench.run(settled + HOUR, |_| false);
    let (spent, renewed) = (bench.spent - begun, bench.registers - registers);
    println!(
        "idle for an hour: {renewed} REGISTERs, {spent:?} of one core, which is {:.3} %",
        100.0 * spent.as_secs_f64() / HOUR.as_secs_f64(),
    );

    let begun = bench.spent;
    bench.calls.drain();
    bench.answer();
    let from = bench.now;
    let gone = bench.run(from + HOUR, Calls::is_idle);
    println!(
        "told all registrars of the end within {:.1} s, {:?} of one core",
        (gone - from).as_secs_f64(),
        bench.spent - begun,
    );
    assert!(bench.calls.is_idle(), "registrations are left");
}
