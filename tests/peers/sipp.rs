//! sipp: scripted peers, and load.

use crate::lab::{CUSTOMER, Lab, PBX_NUMBER, TEAMS_NUMBER};
use crate::process::{PATIENCE, Running};
use crate::script::Script;
use std::borrow::Cow;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;
use std::time::{Duration, Instant};

/// A scenario of `sipp/`, and how it is run.
pub struct Scenario {
    name: &'static str,
    text: Cow<'static, str>,
    at: SocketAddrV4,
    remote: SocketAddrV4,
    service: &'static str,
    caller: &'static str,
    calls: u32,
    rate: u32,
    talk_ms: u32,
}

macro_rules! scenarios {
    ($($function:ident = $who:ident;)*) => {
        impl Scenario {
            $(
                #[doc = concat!("See `sipp/", stringify!($function), ".xml`.")]
                pub fn $function(lab: &Lab) -> Self {
                    let text = include_str!(concat!("sipp/", stringify!($function), ".xml"));
                    Self::$who(stringify!($function), text, lab)
                }
            )*
        }
    };
}
scenarios! {
    teams_call = teams;
    teams_waits = teams;
    teams_holds = teams;
    teams_cancels = teams;
    teams_is_refused = teams;
    teams_answers = called_teams;
    pbx_calls = pbx;
    pbx_answers = called_pbx;
    pbx_rings = called_pbx;
}

impl Scenario {
    /// Teams behind its first edge, calling.
    pub fn of_teams(name: &'static str, script: Script, lab: &Lab) -> Self {
        Self::teams(name, script.xml(), lab)
    }

    /// Teams behind the edge at this address, called.
    pub fn of_teams_called(name: &'static str, script: Script, lab: &Lab, edge: Ipv4Addr) -> Self {
        let mut scenario = Self::called_teams(name, script.xml(), lab);
        scenario.at.set_ip(edge);
        scenario.remote.set_ip(edge);
        scenario
    }

    /// The PBX, calling.
    pub fn of_pbx(name: &'static str, script: Script, lab: &Lab) -> Self {
        Self::pbx(name, script.xml(), lab)
    }

    /// Behind the edge, calling.
    fn teams(name: &'static str, text: impl Into<Cow<'static, str>>, lab: &Lab) -> Self {
        let edge = SocketAddrV4::new(lab.microsoft(), 5060);
        let mut scenario = Self::new(name, text, lab.microsoft(), edge);
        (scenario.service, scenario.caller) = (PBX_NUMBER, TEAMS_NUMBER);
        scenario
    }

    /// Behind the edge, which brings calls to this port.
    fn called_teams(name: &'static str, text: impl Into<Cow<'static, str>>, lab: &Lab) -> Self {
        let mut scenario = Self::teams(name, text, lab);
        scenario.at.set_port(5062);
        scenario
    }

    /// At the trunk, calling.
    fn pbx(name: &'static str, text: impl Into<Cow<'static, str>>, lab: &Lab) -> Self {
        let sbc = SocketAddrV4::new(lab.sbc(), 5060);
        Self::new(name, text, lab.pbx(), sbc)
    }

    /// At the trunk's address.
    fn called_pbx(name: &'static str, text: impl Into<Cow<'static, str>>, lab: &Lab) -> Self {
        let mut scenario = Self::pbx(name, text, lab);
        scenario.at.set_port(5060);
        scenario
    }

    fn new(
        name: &'static str,
        text: impl Into<Cow<'static, str>>,
        at: Ipv4Addr,
        remote: SocketAddrV4,
    ) -> Self {
        Self {
            name,
            text: text.into(),
            // A scenario that calls; several at once would need several.
            at: SocketAddrV4::new(at, 5070),
            remote,
            service: TEAMS_NUMBER,
            caller: PBX_NUMBER,
            calls: 1,
            rate: 10,
            talk_ms: 1000,
        }
    }

    /// So many calls, then an end.
    pub fn calls(mut self, calls: u32) -> Self {
        self.calls = calls;
        self
    }

    /// Calls a second.
    pub fn rate(mut self, rate: u32) -> Self {
        self.rate = rate;
        self
    }

    /// How long a call lasts.
    pub fn talk_ms(mut self, talk_ms: u32) -> Self {
        self.talk_ms = talk_ms;
        self
    }

    /// From another port, so that two callers fit at one address.
    pub fn port(mut self, port: u16) -> Self {
        self.at.set_port(port);
        self
    }

    /// Runs it.
    pub fn start(self, lab: &Lab) -> Sipp {
        let log = format!("{}-{}", self.name, self.at.port());
        let script = lab.write(&format!("{log}.xml"), &self.text);
        let (statistics, errors) = (format!("{log}.csv"), format!("{log}.errors"));
        let told = format!("{log}.told");
        let at = self.at.ip().to_string();
        let mut command = Command::new("sipp");
        command.arg("-sf").arg(script);
        command.args(["-i", &at, "-mi", &at, "-t", "u1", "-nostdin"]);
        command.args(["-p", &self.at.port().to_string()]);
        command.args(["-m", &self.calls.to_string(), "-r", &self.rate.to_string()]);
        // The default limit of calls at once follows from rate and length, and a slow machine would reach it.
        command.args(["-l", "10000", "-d", &self.talk_ms.to_string()]);
        command.args(["-s", self.service]);
        command.args(["-key", "caller", self.caller, "-key", "gateway", CUSTOMER]);
        command.args(["-trace_stat", "-fd", "1", "-stf", &statistics]);
        command.args(["-trace_err", "-error_file", &errors]);
        command.args(["-trace_logs", "-log_file", &told]);
        command.args(["-timeout", "90s", "-timeout_error"]);
        command.arg(self.remote.to_string());
        Sipp {
            name: self.name,
            calls: self.calls,
            running: Running::start(&log, lab.directory(), &mut command),
            statistics: lab.file(&statistics),
            errors: lab.file(&errors),
            told: lab.file(&told),
        }
    }
}

/// A running sipp.
pub struct Sipp {
    name: &'static str,
    calls: u32,
    running: Running,
    statistics: std::path::PathBuf,
    errors: std::path::PathBuf,
    told: std::path::PathBuf,
}

impl Sipp {
    /// Waits for the end; every call must have gone as the scenario says. How many messages were sent again.
    pub async fn succeeds(&mut self) -> u64 {
        let status = self.running.ended().await;
        assert!(status.success(), "{}: {status}", self.name);
        assert_eq!(
            (
                self.column("SuccessfulCall(C)"),
                self.column("FailedCall(C)")
            ),
            (self.calls.into(), 0),
            "{}: successful and failed calls",
            self.name
        );
        self.column("Retransmissions(C)")
    }

    /// What its script has logged after this word so far.
    pub fn all_told(&self, word: &str) -> Vec<String> {
        let text = fs::read_to_string(&self.told).unwrap_or_default();
        // The last line may be half written.
        let lines = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        lines
            .filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '))
            .map(|rest| rest.trim_end().to_owned())
            .collect()
    }

    /// Waits until it has logged something after this word, and returns the last of it.
    pub async fn tells(&self, word: &str) -> String {
        let from = Instant::now();
        loop {
            if let Some(told) = self.all_told(word).pop() {
                return told;
            }
            assert!(from.elapsed() < PATIENCE, "{} never told {word}", self.name);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A column of the last line of the statistics.
    fn column(&self, title: &str) -> u64 {
        let text = fs::read_to_string(&self.statistics).expect("statistics");
        let mut lines = text.lines();
        let titles = lines.next().expect("titles");
        let column = titles
            .split(';')
            .position(|found| found == title)
            .unwrap_or_else(|| panic!("no {title} in {titles}"));
        let last = lines.next_back().expect("a line");
        let value = last.split(';').nth(column).expect("a value");
        value.parse().expect("a number")
    }
}

/// When a test fails, what sipp objected to says more than that it did.
impl Drop for Sipp {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let errors = fs::read_to_string(&self.errors).unwrap_or_default();
            let errors: String = errors.chars().take(3000).collect();
            println!("--- {} objected to:\n{errors}", self.name);
        }
    }
}
