//! The relays, each a process of its own on a processor of its own.

use crate::load::Load;
use crate::ng::Ng;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Four ports a call.
const OUR_PORTS: u16 = 12_000;
const THEIR_PORTS: [u16; 2] = [20_000, 31_999];

/// Ends with this.
pub struct Relay(Child);

impl Relay {
    /// Ours, with all calls of this load.
    pub fn tollgate(load: &mut Load) -> Self {
        let program = std::env::current_exe().expect("this program has a name");
        let mut child = on_relay_processor(&program.display().to_string())
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the relay starts");
        let (mut input, secure) = (child.stdin.take().expect("piped"), load.is_secure());
        let mut relays = Vec::new();
        for (ours, [a, b]) in (OUR_PORTS..).step_by(4).zip(load.ports()) {
            relays.push([ours, ours + 2]);
            writeln!(input, "{ours} {} {a} {b} {}", ours + 2, u8::from(secure)).expect("it reads");
        }
        writeln!(input, "go").expect("it reads");
        // It serves until its input ends.
        child.stdin = Some(input);
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("it answers");
        assert_eq!(line.trim(), "ready");
        load.connect(&relays);
        Self(child)
    }

    /// rtpengine without its kernel module.
    pub fn rtpengine(program: &str, load: &mut Load) -> Self {
        let control = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let control = control.expect("a port is free");
        let child = on_relay_processor(program)
            .args([
                "--config-file=none",
                "--foreground",
                "--table=-1",
                "--log-stderr",
            ])
            .args(["--log-level=3", "--interface=127.0.0.1", "--timeout=600"])
            .arg(format!("--listen-ng={control}"))
            .arg(format!("--port-min={}", THEIR_PORTS[0]))
            .arg(format!("--port-max={}", THEIR_PORTS[1]))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("rtpengine starts");
        let relay = Self(child);
        let mut ng = Ng::connect(control);
        let secure = load.is_secure();
        let ports = load.ports();
        let relays: Vec<_> = (0..)
            .zip(&ports)
            .map(|(call, ports)| ng.call(call, *ports, secure))
            .collect();
        load.connect(&relays);
        relay
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `taskset` becomes the program, which so has its number.
fn on_relay_processor(program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &relay_processor().to_string(), program]);
    command
}

fn processors() -> Vec<usize> {
    // The main thread's: the load keeps to one of them only later.
    static ALL: std::sync::OnceLock<Vec<usize>> = std::sync::OnceLock::new();
    let all = ALL.get_or_init(|| {
        let allowed = sched_getaffinity(Pid::from_raw(0)).expect("the system tells");
        (0..CpuSet::count())
            .filter(|n| allowed.is_set(*n).unwrap_or(false))
            .collect()
    });
    all.clone()
}

fn relay_processor() -> usize {
    processors()[0]
}

/// Another one than the relay's, if there is one.
pub fn load_processor() -> usize {
    *processors().last().expect("this runs on one")
}

/// Keeps this thread, and what it starts, to a processor.
pub fn keep_to(processor: usize) {
    let mut own = CpuSet::new();
    own.set(processor).expect("it is one of those allowed");
    sched_setaffinity(Pid::from_raw(0), &own).expect("it is allowed");
}

/// The time that all threads of a process have run.
pub fn cpu_of(pid: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the relay runs");
    let run = |task: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ')
            .next()?
            .parse()
            .ok()
            .map(Duration::from_nanos)
    };
    tasks.filter_map(run).sum()
}
