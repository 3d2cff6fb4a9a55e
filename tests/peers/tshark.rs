//! tshark: an independent reader of what goes over the trunk.

use crate::lab::Lab;
use crate::process::Running;
use nix::sys::signal::Signal;
use std::path::PathBuf;
use std::process::Command;

/// `_ws.expert.severity`: worse than a note.
const WARNINGS: &str = "_ws.malformed || _ws.expert.severity >= 0x600000";

/// A capture that runs.
pub struct Capture {
    running: Running,
    file: PathBuf,
}

impl Capture {
    /// Captures what goes over UDP between the SBC and everybody behind the trunk. None, with a notice, where capturing
    /// is not permitted.
    pub async fn start(lab: &Lab) -> Option<Self> {
        let trunk = format!("not host {}", lab.microsoft());
        Self::of(lab, &format!("udp and {trunk}")).await
    }

    /// The same for all that it sends and receives over UDP.
    pub async fn of_datagrams(lab: &Lab) -> Option<Self> {
        Self::of(lab, "udp").await
    }

    /// The same for all that it sends and receives.
    pub async fn of_all(lab: &Lab) -> Option<Self> {
        Self::of(lab, "ip").await
    }

    async fn of(lab: &Lab, filter: &str) -> Option<Self> {
        let file = lab.file("captured.pcap");
        let filter = format!("host {} and {filter}", lab.sbc());
        let mut command = Command::new("tshark");
        command.args(["-i", "lo", "-f", &filter, "-w"]).arg(&file);
        let mut running = Running::start("tshark", lab.directory(), &mut command);
        // dumpcap says it when the socket is open.
        if !running.prints("Capturing on").await {
            println!(
                "SKIPPED: nothing is captured here: {}",
                running.printed().trim()
            );
            return None;
        }
        Some(Self { running, file })
    }

    /// Ends the capture and reads it: all SIP messages, by first word of their first line as it goes out.
    pub async fn read(mut self) -> Trace {
        // The last packets are still on their way through the kernel's buffer.
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        self.running.stop(Signal::SIGINT).await;
        Trace { file: self.file }
    }
}

impl Trace {
    /// A file that somebody else has written.
    pub fn of(file: PathBuf) -> Self {
        Self { file }
    }
}

/// What was captured.
pub struct Trace {
    file: PathBuf,
}

impl Trace {
    /// Packets that a filter selects, each as these fields.
    pub fn select(&self, filter: &str, fields: &[&str]) -> Vec<String> {
        let mut command = Command::new("tshark");
        command.arg("-r").arg(&self.file).args(["-Y", filter]);
        command.args(["-T", "fields", "-E", "separator=/s"]);
        for field in fields {
            command.args(["-e", field]);
        }
        let output = command.output().expect("tshark");
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{filter}: {complaints}");
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    /// A field of bytes, in the packets that a filter selects.
    pub fn payloads(&self, filter: &str, field: &str) -> Vec<Vec<u8>> {
        let lines = self.select(filter, &[field]);
        lines.iter().map(|line| bytes(line)).collect()
    }

    /// Nothing that a reader of SIP, SDP, RTP or RTCP objects to.
    pub fn is_well_formed(&self) {
        let fields = [
            "frame.number",
            "frame.protocols",
            "_ws.expert.message",
            "_ws.malformed",
            "sip.Request-Line",
            "sip.Status-Line",
        ];
        let objections = self.select(WARNINGS, &fields);
        assert!(objections.is_empty(), "{objections:#?}");
    }
}

/// Bytes as tshark prints them.
pub fn bytes(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().as_chunks::<2>().0;
    let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    pairs
        .iter()
        .map(|pair| byte(pair).expect("hexadecimal digits"))
        .collect()
}
