//! Just enough of rtpengine's control protocol: a cookie and a dictionary in bencode, in one datagram each way.

use crate::load::KEY;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// rtpengine, as it is commanded.
pub struct Ng {
    socket: UdpSocket,
    cookie: u32,
}

impl Ng {
    /// Waits until it answers.
    pub fn connect(to: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        socket.connect(to).expect("loopback has a route");
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .expect("sockets can wait");
        let mut ng = Self { socket, cookie: 0 };
        let answered = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            ng.ask("d7:command4:pinge").is_some()
        });
        assert!(answered, "rtpengine does not answer");
        ng
    }

    /// Sets up a call between these two ports of ours; where each of them is to send.
    pub fn call(&mut self, number: usize, [a, b]: [u16; 2], secure: bool) -> [u16; 2] {
        let call = format!("call-{number}");
        let offered = description(a, secure);
        let common = [
            ("call-id", call.as_str()),
            ("from-tag", "a"),
            ("ICE", "remove"),
        ];
        let offer = [
            ("command", "offer"),
            ("sdp", &offered),
            ("transport-protocol", "RTP/AVP"),
        ];
        let to_b = self.describe(&[&common[..], &offer].concat());
        let answered = description(b, false);
        let answer = [("command", "answer"), ("sdp", &answered), ("to-tag", "b")];
        let to_a = self.describe(&[&common[..], &answer].concat());
        assert_eq!(to_a.contains("a=crypto:"), secure, "{to_a}");
        [port(&to_a), port(&to_b)]
    }

    /// Asks for a description, and waits for it.
    fn describe(&mut self, pairs: &[(&str, &str)]) -> String {
        let pairs = pairs
            .iter()
            .map(|(k, v)| format!("{}:{k}{}:{v}", k.len(), v.len()));
        let question = format!("d{}e", pairs.collect::<String>());
        let answer = (0..5).find_map(|_| self.ask(&question));
        let answer = answer.expect("rtpengine answers");
        text(&answer, "sdp").unwrap_or_else(|| panic!("no description in {answer}"))
    }

    fn ask(&mut self, question: &str) -> Option<String> {
        self.cookie += 1;
        let cookie = format!("{} ", self.cookie);
        let _ = self.socket.send(format!("{cookie}{question}").as_bytes());
        let mut buffer = [0; 4096];
        loop {
            let length = self.socket.recv(&mut buffer).ok()?;
            let answer = String::from_utf8_lossy(&buffer[..length]);
            if let Some(answer) = answer.strip_prefix(&cookie) {
                return Some(answer.to_owned());
            }
        }
    }
}

/// The text under a key of a dictionary of which no text holds that key.
fn text(dictionary: &str, key: &str) -> Option<String> {
    let (_, rest) = dictionary.split_once(&format!("{}:{key}", key.len()))?;
    let (length, rest) = rest.split_once(':')?;
    rest.get(..length.parse().ok()?).map(str::to_owned)
}

fn port(description: &str) -> u16 {
    let line = description.lines().find_map(|l| l.strip_prefix("m=audio "));
    let port = line.and_then(|line| line.split(' ').next()?.parse().ok());
    port.unwrap_or_else(|| panic!("no port in {description}"))
}

fn description(port: u16, secure: bool) -> String {
    let (profile, crypto) = if secure {
        let key = STANDARD.encode(KEY);
        let line = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n");
        ("RTP/SAVP", line)
    } else {
        ("RTP/AVP", String::new())
    };
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio {port} {profile} 8\r\na=rtpmap:8 PCMA/8000\r\n{crypto}a=sendrecv\r\n"
    )
}
