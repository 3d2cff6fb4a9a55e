//! linphonec: a telephone with a SIP and an RTP stack of its own make, which runs without display and sound card. It
//! registers, answers by itself, plays one file and writes what it hears into another.

use crate::lab::Lab;
use crate::process::{PATIENCE, Running};
use crate::sound;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// It falls silent when its file ends.
const LONGEST_CALL_S: u32 = 120;

/// As whom and where it registers.
pub struct Line<'a> {
    pub registrar: Ipv4Addr,
    /// Where the password is good (RFC 3261 §22.1).
    pub realm: &'a str,
    pub user: &'a str,
    pub password: &'a str,
}

/// A registered telephone.
pub struct Linphone {
    running: Running,
    heard: PathBuf,
    exchange: String,
}

impl Linphone {
    /// Starts the nth of them and waits until it is registered at the PBX.
    pub async fn start(lab: &Lab, n: u8, number: &str, tone: f64) -> Self {
        let pbx = lab.pbx();
        let line = Line {
            registrar: pbx,
            realm: &pbx.to_string(),
            user: number,
            password: "of a telephone",
        };
        Self::start_as(lab, n, line, tone).await
    }

    /// The same where this line is.
    pub async fn start_as(lab: &Lab, n: u8, line: Line<'_>, tone: f64) -> Self {
        let Line {
            registrar,
            realm,
            user,
            password,
        } = line;
        let name = format!("linphone-{n}");
        let directory = lab.file(&name);
        // Where it keeps its database.
        fs::create_dir_all(directory.join(".local/share/linphone")).expect("a directory");
        let (played, heard) = (directory.join("tone.wav"), directory.join("heard.wav"));
        sound::write_tone(&played, tone, LONGEST_CALL_S);
        let at = lab.softphone(n);
        let configuration = format!(
            "[sip]\nbind_address={at}\nsip_port=5060\nsip_tcp_port=0\nsip_tls_port=0\n\
             supported=replaces\nmedia_encryption=none\nkeepalive_period=0\ndefault_proxy=0\n\
             [rtp]\nbind_address={at}\naudio_rtp_port=32000-32098\n\
             [proxy_0]\nreg_proxy=<sip:{registrar};transport=udp>\nreg_identity=sip:{user}@{registrar}\n\
             reg_expires=60\nreg_sendregister=1\npublish=0\n\
             [auth_info_0]\nusername={user}\npasswd={password}\nrealm={realm}\ndomain={registrar}\n\
             [audio_codec_0]\nmime=PCMA\nrate=8000\nchannels=1\nenabled=1\n"
        );
        fs::write(directory.join("linphonerc"), configuration).expect("a file");
        let mut command = Command::new("linphonec");
        command.args(["-a", "-S", "-c", "linphonerc"]);
        command.env("HOME", &directory);
        let mut telephone = Self {
            running: Running::start_told(&name, &directory, &mut command),
            heard,
            exchange: registrar.to_string(),
        };
        telephone.running.tell("soundcard use files");
        telephone
            .running
            .tell(&format!("play {}", played.display()));
        telephone
            .running
            .tell(&format!("record {}", telephone.heard.display()));
        telephone.is_registered().await;
        telephone
    }

    /// It says so when it is asked only.
    async fn is_registered(&mut self) {
        let from = Instant::now();
        while !self.running.printed().contains("registered: yes") {
            assert!(from.elapsed() < PATIENCE, "{}", self.running.printed());
            self.running.tell("proxy list");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Dials a number; the call's id.
    pub async fn dial(&mut self, number: &str) -> u32 {
        let calls = self.calls().len();
        let target = self.at_exchange(number);
        self.does(&format!("call {target}"), "Media streams established")
            .await;
        let all = self.calls();
        assert_eq!(all.len(), calls + 1);
        all[calls]
    }

    /// Holds its call.
    pub async fn holds(&mut self) {
        self.does("pause", "is now paused").await;
    }

    /// Resumes a call.
    pub async fn resumes(&mut self, call: u32) {
        self.does(&format!("resume {call}"), "Media streams established")
            .await;
    }

    /// Hands a call on to a number, and leaves when it is told that it may.
    pub async fn hands_on(&mut self, call: u32, number: &str) {
        let target = self.at_exchange(number);
        self.does(&format!("transfer {call} {target}"), "ended (No error)")
            .await;
    }

    /// Joins the partners of its two calls, and leaves.
    pub async fn joins(&mut self, call: u32, other: u32) {
        self.does(
            &format!("transfer {call} --to-call {other}"),
            "has been transfered",
        )
        .await;
    }

    /// Hangs up.
    pub async fn hangs_up(&mut self) {
        self.does("terminate", "ended (No error)").await;
    }

    /// The ids of all its calls so far.
    pub fn calls(&self) -> Vec<u32> {
        let printed = self.running.printed();
        let ids = printed.split("assigned id ").skip(1);
        ids.filter_map(|rest| {
            rest.split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        })
        .collect()
    }

    /// Waits until a second of this tone comes after what it has heard before now.
    pub async fn hears(&self, frequency: f64) {
        let samples = || sound::samples(&self.heard);
        let (from, before) = (Instant::now(), samples().len());
        loop {
            let heard = samples().split_off(before);
            if sound::ends_with(frequency, &heard) {
                return;
            }
            assert!(
                from.elapsed() < PATIENCE,
                "{} s of {frequency} Hz among {} samples\n{}",
                sound::seconds_of(frequency, &heard),
                heard.len(),
                self.running.printed()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn at_exchange(&self, number: &str) -> String {
        format!("sip:{number}@{}", self.exchange)
    }

    /// Tells it to, and waits until it says that it is so, once more than before.
    async fn does(&mut self, command: &str, so: &str) {
        let before = self.running.printed().matches(so).count();
        self.running.tell(command);
        let from = Instant::now();
        while self.running.printed().matches(so).count() == before {
            assert!(
                from.elapsed() < PATIENCE,
                "{command}, and no {so}:\n{}",
                self.running.printed()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
