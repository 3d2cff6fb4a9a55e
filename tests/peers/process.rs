//! Child processes that never outlive their test.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take before it counts as not happening; a busy machine is slow.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long a program has to end when it is told to.
const MANNERS: Duration = Duration::from_secs(5);
/// Lines of a log that a failed test shows.
const SHOWN: usize = 40;

/// A program that runs; dropping it ends it and all that it has started.
pub struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts a program in `directory`, where `NAME.log` takes what it prints.
    pub fn start(name: &str, directory: &Path, command: &mut Command) -> Self {
        Self::start_fed(name, directory, command.stdin(Stdio::null()))
    }

    /// The same, for one that listens to [`Running::tell`].
    pub fn start_told(name: &str, directory: &Path, command: &mut Command) -> Self {
        Self::start_fed(name, directory, command.stdin(Stdio::piped()))
    }

    fn start_fed(name: &str, directory: &Path, command: &mut Command) -> Self {
        let log = directory.join(format!("{name}.log"));
        let file = File::create(&log).expect("a log");
        let child = command
            .current_dir(directory)
            .stdout(file.try_clone().expect("a second handle"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}; is it installed?"));
        Self {
            name: name.to_owned(),
            child,
            log,
        }
    }

    /// Writes a line to its standard input.
    pub fn tell(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("it is told things");
        writeln!(input, "{line}").expect("it listens");
    }

    /// What it has printed.
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).expect("its log")).into_owned()
    }

    /// Waits until it has printed `text`; false if it ended instead.
    pub async fn prints(&mut self, text: &str) -> bool {
        let from = Instant::now();
        loop {
            // Asked first, so that what it said before its end counts.
            let ended = self.child.try_wait().expect("its status");
            if self.printed().contains(text) || ended.is_some() {
                return self.printed().contains(text);
            }
            assert!(
                from.elapsed() < PATIENCE,
                "{} never said {text:?}",
                self.name
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let from = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("its status") {
                return status;
            }
            assert!(from.elapsed() < PATIENCE, "{} does not end", self.name);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Asks it to end, and waits for that.
    pub async fn stop(&mut self, signal: Signal) -> ExitStatus {
        kill(self.pid(), signal).expect("it runs");
        self.ended().await
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let family = family(self.child.id());
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill(self.pid(), Signal::SIGTERM);
        }
        let from = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && from.elapsed() < MANNERS {
            thread::sleep(Duration::from_millis(20));
        }
        for member in family.iter().filter(|member| member.lives()) {
            let _ = kill(Pid::from_raw(member.id.cast_signed()), Signal::SIGKILL);
        }
        let _ = self.child.wait();
        if thread::panicking() {
            let printed = self.printed();
            let lines: Vec<_> = printed.lines().collect();
            let tail = &lines[lines.len().saturating_sub(SHOWN)..];
            println!("--- {} printed:\n{}", self.name, tail.join("\n"));
        }
    }
}

/// A process as it was found: an id may go to a stranger later, the start time does not.
struct Member {
    id: u32,
    started: String,
}

impl Member {
    fn find(id: u32) -> Option<Self> {
        // proc(5): the name stands in brackets and may hold anything; the first field after it is the state, the 20th
        // the start. Whoever is dead and not yet buried is no more.
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace();
        let state = fields.next()?;
        let started = fields.nth(18)?.to_owned();
        (state != "Z").then_some(Self { id, started })
    }

    fn lives(&self) -> bool {
        Self::find(self.id).is_some_and(|now| now.started == self.started)
    }
}

/// A process and all its descendants.
fn family(id: u32) -> Vec<Member> {
    let mut members: Vec<Member> = Member::find(id).into_iter().collect();
    let mut next = 0;
    while let Some(id) = members.get(next).map(|member| member.id) {
        next += 1;
        members.extend(children(id).into_iter().filter_map(Member::find));
    }
    members
}

fn children(id: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{id}/task"))
        .into_iter()
        .flatten();
    let lists = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|id| id.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// What stays behind must be nothing: a shell's child ends with the shell.
#[test]
fn the_children_of_a_child_end_with_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let shell = Running::start(
        "shell",
        directory.path(),
        Command::new("sh").args(["-c", "trap '' TERM; sleep 1000 & sleep 1000"]),
    );
    let from = Instant::now();
    let mut found = family(shell.child.id());
    while found.len() < 3 && from.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(10));
        found = family(shell.child.id());
    }
    assert_eq!(found.len(), 3, "a shell and two that sleep");
    drop(shell);
    let from = Instant::now();
    while found.iter().any(Member::lives) {
        assert!(from.elapsed() < PATIENCE, "somebody is left");
        thread::sleep(Duration::from_millis(10));
    }
}
