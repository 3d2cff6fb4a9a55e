//! baresip: a telephone that registers, answers by itself, plays a tone and keeps what it hears.

use crate::lab::Lab;
use crate::process::{PATIENCE, Running};
use crate::sound;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

const CONTROL: u16 = 4444;
/// It hangs up when the file that it plays ends.
const LONGEST_CALL_S: u32 = 120;

/// A registered telephone.
pub struct Telephone {
    running: Running,
    control: SocketAddrV4,
    directory: PathBuf,
}

impl Telephone {
    /// Starts it and waits until it is registered at the PBX.
    pub async fn start(lab: &Lab, number: &str, tone: f64) -> Self {
        let account = format!(
            "<sip:{number}@{pbx};transport=udp>;auth_user={number};auth_pass=\"of a telephone\";\
             answermode=auto;regint=60;audio_codecs=pcma\n",
            pbx = lab.pbx()
        );
        Self::start_as(lab, &account, tone).await
    }

    /// Starts it with this account and waits until it is registered there.
    pub async fn start_as(lab: &Lab, account: &str, tone: f64) -> Self {
        Self::start_in(lab, "telephone", account, tone).await
    }

    /// The same in a directory of this name, so that it can be started again with another account.
    pub async fn start_in(lab: &Lab, name: &str, account: &str, tone: f64) -> Self {
        let directory = lab.file(name);
        fs::create_dir(&directory).expect("a directory");
        sound::write_tone(&directory.join("tone.wav"), tone, LONGEST_CALL_S);
        let template = format!(
            "sip_listen @PHONES@:5060\n\
             net_interface @PHONES@\n\
             sip_verify_server no\n\
             rtp_ports 31000-31098\n\
             rtcp_mux no\n\
             jitter_buffer_type fixed\n\
             jitter_buffer_delay 1-4\n\
             audio_source aufile,@DIRECTORY@/{name}/tone.wav\n\
             audio_player aubridge,nil\n\
             audio_alert aubridge,nil\n\
             ausrc_srate 8000\n\
             auplay_srate 8000\n\
             ausrc_channels 1\n\
             auplay_channels 1\n\
             audio_txmode thread\n\
             snd_path @DIRECTORY@/{name}\n\
             module_path /usr/lib/baresip/modules\n\
             module g711.so\n\
             module aufile.so\n\
             module aubridge.so\n\
             module sndfile.so\n\
             module uuid.so\n\
             module_tmp account.so\n\
             module_app menu.so\n\
             module_app ctrl_tcp.so\n\
             ctrl_tcp_listen @PHONES@:{CONTROL}\n"
        );
        lab.fill_in(&format!("{name}/config"), &template);
        lab.write(&format!("{name}/accounts"), account);
        lab.write(&format!("{name}/contacts"), "");
        let mut command = Command::new("baresip");
        command.arg("-s").arg("-f").arg(&directory);
        let mut running = Running::start(&format!("baresip-{name}"), lab.directory(), &mut command);
        assert!(running.prints("200 OK").await, "{}", running.printed());
        Self {
            running,
            control: SocketAddrV4::new(lab.phones(), CONTROL),
            directory,
        }
    }

    /// Dials a number or a URI.
    pub fn dial(&self, target: &str) {
        self.command("dial", target);
    }

    /// Holds the call.
    pub fn hold(&self) {
        self.command("hold", "");
    }

    /// Resumes it.
    pub fn resume(&self) {
        self.command("resume", "");
    }

    /// Hands it on; baresip leaves when it hears that this is done.
    pub fn transfer(&self, target: &str) {
        self.command("transfer", target);
    }

    /// Presses keys, by telephone events.
    pub fn press(&self, keys: &str) {
        for key in keys.chars() {
            self.command("sndcode", &key.to_string());
        }
    }

    /// Waits until it rings, and lifts the handset.
    pub async fn accepts(&mut self) {
        assert!(self.running.prints("Incoming call from").await);
        self.command("accept", "");
    }

    /// Waits until it was sent a message with this line, or has sent one.
    pub async fn has_seen(&mut self, line: &str) {
        assert!(
            self.running.prints(line).await,
            "{}",
            self.running.printed()
        );
    }

    /// Ends the call.
    pub fn hang_up(&self) {
        self.command("hangup", "");
    }

    /// What has been heard in all calls so far, each as a file that is complete when its call is over.
    pub fn heard(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = fs::read_dir(&self.directory)
            .expect("its directory")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.to_string_lossy().ends_with("-dec.wav"))
            .collect();
        files.sort();
        files
    }

    /// Waits until it has heard so many calls, and the last holds this tone for a second.
    pub async fn hears(&self, calls: usize, frequency: f64) {
        let from = Instant::now();
        loop {
            let heard = self.heard();
            let last = heard.last().map_or(0.0, |file| {
                sound::seconds_of(frequency, &sound::samples(file))
            });
            if heard.len() == calls && last >= 1.0 {
                return;
            }
            assert!(
                from.elapsed() < PATIENCE,
                "{last} s of {frequency} Hz in call {} of {calls}\n{}",
                heard.len(),
                self.running.printed()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until a second of this tone comes after what it has heard in its last call before now.
    pub async fn hears_now(&self, frequency: f64) {
        let last = || {
            self.heard()
                .pop()
                .map(|file| sound::samples(&file))
                .unwrap_or_default()
        };
        let (from, files, before) = (Instant::now(), self.heard().len(), last().len());
        loop {
            let skipped = if self.heard().len() == files {
                before
            } else {
                0
            };
            let heard = last();
            if sound::ends_with(frequency, &heard[skipped.min(heard.len())..]) {
                return;
            }
            assert!(
                from.elapsed() < PATIENCE,
                "{frequency} Hz\n{}",
                self.running.printed()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// A command of its TCP interface: JSON in netstrings, with events in between.
    fn command(&self, command: &str, parameters: &str) {
        let mut stream = TcpStream::connect(self.control).expect("its control port");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let text = json!({ "command": command, "params": parameters, "token": "t" }).to_string();
        write!(stream, "{}:{text},", text.len()).expect("to be heard");
        let mut received = Vec::new();
        loop {
            if let Some((message, used)) = netstring(&received) {
                received.drain(..used);
                if message["response"] == true {
                    assert_eq!(message["ok"], true, "{command}: {message}");
                    return;
                }
                continue;
            }
            let mut part = [0; 4096];
            let length = stream.read(&mut part).expect("an answer");
            assert_ne!(length, 0, "{command} is not answered");
            received.extend(&part[..length]);
        }
    }
}

/// The first netstring as JSON, and its length.
fn netstring(bytes: &[u8]) -> Option<(Value, usize)> {
    let colon = bytes.iter().position(|&byte| byte == b':')?;
    let length: usize = str::from_utf8(&bytes[..colon]).ok()?.parse().ok()?;
    let end = colon + 1 + length;
    let text = bytes.get(colon + 1..end)?;
    // The comma after it.
    bytes.get(end)?;
    Some((serde_json::from_slice(text).expect("JSON"), end + 1))
}
