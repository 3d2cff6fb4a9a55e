//! What a relayed packet costs with system calls, sockets and all, on loopback: processor time of the relay, by the number
//! of calls, with the load beside it on another processor. `cargo bench --bench media`.
//!
//! `benches/compare-rtpengine` runs it beside rtpengine in user space: the same load, the same processors, by turns. Both
//! are commanded directly, without SIP. Only comparisons within one run mean anything.

mod load;
mod ng;
mod process;
mod serve;

use load::{Load, Measured};
use process::{Relay, cpu_of, keep_to};
use serde_json::{Value, json};
use std::time::Duration;

/// Calls at once, one size after the other.
const CALLS: [usize; 3] = [100, 500, 1000];

/// What the command line says.
struct Plan {
    rtpengine: Option<String>,
    calls: Vec<usize>,
    seconds: u64,
    rounds: usize,
    json: bool,
}

impl Plan {
    fn read(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut plan = Self {
            rtpengine: None,
            calls: CALLS.to_vec(),
            seconds: 5,
            rounds: 3,
            json: false,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next();
                value.unwrap_or_else(|| usage(&format!("{argument} needs a value")))
            };
            match argument.as_str() {
                "--rtpengine" => plan.rtpengine = Some(value()),
                "--calls" => plan.calls = value().split(',').map(number).collect(),
                "--seconds" => plan.seconds = number(&value()),
                "--rounds" => plan.rounds = number(&value()),
                "--json" => plan.json = true,
                // Cargo says so to every bench.
                "--bench" => {}
                _ => usage(&format!("{argument} is unknown")),
            }
        }
        plan
    }
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse()
        .unwrap_or_else(|_| usage(&format!("{text:?} is no number")))
}

fn usage(problem: &str) -> ! {
    eprintln!(
        "{problem}\noptions: --calls 100,500,1000  --seconds 5  --rounds 3  --json  --rtpengine PROGRAM"
    );
    std::process::exit(2)
}

fn main() {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if_eq("serve").is_some() {
        return serve::serve();
    }
    let plan = Plan::read(arguments);
    keep_to(process::load_processor());
    let mut rows = Vec::new();
    for media in [Media::RtpRtp, Media::SrtpRtp] {
        for calls in &plan.calls {
            for _ in 0..plan.rounds.max(1) {
                for system in System::all(&plan) {
                    rows.push(run(&plan, system, media, *calls));
                }
            }
        }
    }
    report(&plan, &rows);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Media {
    RtpRtp,
    SrtpRtp,
}

impl Media {
    fn name(self) -> &'static str {
        match self {
            Self::RtpRtp => "rtp_rtp",
            Self::SrtpRtp => "srtp_rtp",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum System {
    Tollgate,
    Rtpengine,
}

impl System {
    fn all(plan: &Plan) -> impl Iterator<Item = Self> {
        let other = plan.rtpengine.as_ref().map(|_| Self::Rtpengine);
        [Self::Tollgate].into_iter().chain(other)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tollgate => "tollgate",
            Self::Rtpengine => "rtpengine",
        }
    }
}

/// One measurement.
struct Row {
    system: System,
    media: Media,
    calls: usize,
    us_per_packet: f64,
    measured: Measured,
}

fn run(plan: &Plan, system: System, media: Media, calls: usize) -> Row {
    let secure = media == Media::SrtpRtp;
    let mut load = Load::new(calls, secure);
    let relay = match (system, &plan.rtpengine) {
        (System::Rtpengine, Some(program)) => Relay::rtpengine(program, &mut load),
        _ => Relay::tollgate(&mut load),
    };
    load.run(Duration::from_secs(1));
    let before = cpu_of(relay.pid());
    let measured = load.run(Duration::from_secs(plan.seconds.max(1)));
    let spent = cpu_of(relay.pid()) - before;
    let row = Row {
        system,
        media,
        calls,
        us_per_packet: spent.as_secs_f64() * 1e6 / measured.received.max(1) as f64,
        measured,
    };
    if !plan.json {
        println!(
            "{:<10} {:<9} {calls:>5} calls {:>7.2} us/packet {:>8} sent {:>6} lost   delay {:>6.2} ms, 99 of 100 within {:>6.2} ms",
            system.name(),
            media.name(),
            row.us_per_packet,
            row.measured.sent,
            row.measured.sent.saturating_sub(row.measured.received),
            row.measured.mean_delay_ms,
            row.measured.p99_delay_ms,
        );
    }
    row
}

fn report(plan: &Plan, rows: &[Row]) {
    let cost = |system: System, media: Media, calls: usize| {
        let of = |row: &&Row| (row.system, row.media, row.calls) == (system, media, calls);
        median(rows.iter().filter(of).map(|row| row.us_per_packet))
    };
    // Median over the sizes, of medians over the rounds.
    let ratio = |media: Media| {
        let ratios = plan.calls.iter().filter_map(|calls| {
            let ours = cost(System::Tollgate, media, *calls)?;
            Some(ours / cost(System::Rtpengine, media, *calls)?)
        });
        median(ratios)
    };
    let (plain, secure) = (ratio(Media::RtpRtp), ratio(Media::SrtpRtp));
    if plan.json {
        let runs: Vec<Value> = rows.iter().map(row).collect();
        let all = json!({ "ratio_rtp_rtp": plain, "ratio_srtp_rtp": secure, "seconds": plan.seconds,
            "rounds": plan.rounds, "runs": runs });
        return println!("{all}");
    }
    for (media, ratio) in [(Media::RtpRtp, plain), (Media::SrtpRtp, secure)] {
        for calls in &plan.calls {
            for system in System::all(plan) {
                if let Some(cost) = cost(system, media, *calls) {
                    let (system, media) = (system.name(), media.name());
                    println!(
                        "median {system:<10} {media:<9} {calls:>5} calls {cost:>7.2} us/packet"
                    );
                }
            }
        }
        if let Some(ratio) = ratio {
            println!("tollgate / rtpengine, {}: {ratio:.3}", media.name());
        }
    }
}

fn row(row: &Row) -> Value {
    json!({
        "system": row.system.name(), "media": row.media.name(), "calls": row.calls,
        "us_per_packet": row.us_per_packet, "sent": row.measured.sent, "received": row.measured.received,
        "mean_delay_ms": row.measured.mean_delay_ms, "p99_delay_ms": row.measured.p99_delay_ms,
    })
}

fn median(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied()
}
