//! A telephone out of its box at a running SBC: from its first file to its first call.

use super::s4_phone_files::{Lab, MAC, value};
use bytes::Bytes;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};
use tollgate::base::Random;
use tollgate::sip::auth::{Challenge, Credentials};
use tollgate::sip::{Message, Method};

/// A telephone on UDP with what its file says of it.
struct Telephone {
    socket: UdpSocket,
    own: SocketAddr,
    sbc: SocketAddr,
    user: String,
    password: String,
    number: u32,
}

/// A call that it makes.
struct Dialog {
    id: String,
    uri: String,
    to: String,
}

/// What the value of a header is, of a message as text.
fn header<'a>(text: &'a str, name: &str) -> &'a str {
    let lines = text.lines().take_while(|line| !line.is_empty());
    let mut fields = lines.filter_map(|line| line.split_once(": "));
    let found = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
    found.map_or("", |(_, value)| value)
}

fn status(text: &str) -> u16 {
    let mut words = text.split(' ');
    assert_eq!(words.next(), Some("SIP/2.0"), "{text}");
    words.next().unwrap().parse().unwrap()
}

impl Telephone {
    /// As the file of a Yealink says.
    async fn of(file: &str, sbc: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        Self {
            own: socket.local_addr().unwrap(),
            socket,
            sbc,
            user: value(file, "account.1.user_name").to_owned(),
            password: value(file, "account.1.password").to_owned(),
            number: 0,
        }
    }

    /// The next message, whatever it is.
    async fn heard(&self) -> String {
        let mut bytes = vec![0; 65_536];
        let patience = Duration::from_secs(30);
        let received = timeout(patience, self.socket.recv(&mut bytes)).await;
        let length = received.expect("the SBC is silent").unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    /// The next request of this method; others are answered by 200 meanwhile.
    async fn asked(&self, method: &str) -> String {
        loop {
            let text = self.heard().await;
            if text.starts_with(method) {
                return text;
            }
            if !text.starts_with("SIP/2.0") && !text.starts_with("ACK") {
                self.answer(&text, "200 OK", "").await;
            }
        }
    }

    async fn answer(&self, request: &str, with: &str, body: &str) {
        let mut text = format!("SIP/2.0 {with}\r\n");
        for line in request.lines().skip(1).take_while(|line| !line.is_empty()) {
            let name = line.split(':').next().unwrap().to_ascii_lowercase();
            let tag = match name.as_str() {
                "to" if !line.contains(";tag=") => ";tag=telephone",
                "via" | "from" | "to" | "call-id" | "cseq" | "record-route" => "",
                _ => continue,
            };
            text += &format!("{line}{tag}\r\n");
        }
        text += &format!(
            "Contact: <sip:{}@{}>\r\n{}",
            self.user,
            self.own,
            typed(body)
        );
        self.send(&text).await;
    }

    async fn send(&self, text: &str) {
        let sent = self.socket.send_to(text.as_bytes(), self.sbc).await;
        sent.unwrap();
    }

    /// Sends a request, once more with credentials if it is asked for them; the final response.
    async fn request(&mut self, method: Method, dialog: &Dialog, more: &str, body: &str) -> String {
        let mut proof = String::new();
        loop {
            self.number += 1;
            let (number, own, user) = (self.number, self.own, self.user.clone());
            let name = method.text();
            let head = |name: &str, branch: &str| {
                format!(
                    "{name} {} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{branch}{number};rport\r\n\
                     Max-Forwards: 70\r\nFrom: <sip:{user}@sbc.example.net>;tag=telephone\r\nCall-ID: {}\r\n\
                     CSeq: {number} {name}\r\nContact: <sip:{user}@{own}>\r\n",
                    dialog.uri, dialog.id
                )
            };
            let to = &dialog.to;
            let body = typed(body);
            self.send(&format!(
                "{}To: {to}\r\n{more}{proof}{body}",
                head(name, "r")
            ))
            .await;
            let answer = loop {
                let text = self.heard().await;
                let is_ours = text.starts_with("SIP/2.0")
                    && header(&text, "CSeq") == format!("{number} {name}");
                if is_ours && status(&text) >= 200 {
                    break text;
                }
            };
            if method == Method::Invite {
                let branch = if status(&answer) < 300 { "a" } else { "r" };
                let to = header(&answer, "To");
                self.send(&format!("{}To: {to}\r\n{}", head("ACK", branch), typed("")))
                    .await;
            }
            if !matches!(status(&answer), 401 | 407) || !proof.is_empty() {
                return answer;
            }
            let message = Message::parse_datagram(Bytes::from(answer)).unwrap();
            let credentials = Credentials {
                username: self.user.clone(),
                password: self.password.clone(),
            };
            let (uri, random) = (dialog.uri.as_str(), &mut Random::from_number(7));
            let mut asked = Challenge::choose(&message).unwrap();
            let value = asked.answer(&credentials, method, uri, b"", random);
            let name = match message.status() {
                401 => "Authorization",
                _ => "Proxy-Authorization",
            };
            proof = format!("{name}: {value}\r\n");
        }
    }

    async fn register(&mut self) -> u16 {
        let dialog = Dialog {
            id: format!("register-{}", self.user),
            uri: "sip:sbc.example.net".into(),
            to: format!("<sip:{}@sbc.example.net>", self.user),
        };
        let expires = "Expires: 300\r\n";
        status(&self.request(Method::Register, &dialog, expires, "").await)
    }

    /// A call, answered or not.
    async fn call(&mut self, whom: &str) -> (u16, Dialog) {
        let uri = format!("sip:{whom}@sbc.example.net");
        let mut dialog = Dialog {
            id: format!("call-{whom}-{}", self.user),
            to: format!("<{uri}>"),
            uri,
        };
        let offer = sdp();
        let answer = self.request(Method::Invite, &dialog, "", &offer).await;
        dialog.to = header(&answer, "To").to_owned();
        let contact = header(&answer, "Contact").trim_matches(['<', '>']);
        dialog.uri = contact.to_owned();
        (status(&answer), dialog)
    }
}

/// PCMA without telephone events: keys are told by INFO.
fn sdp() -> String {
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n\
     a=rtpmap:8 PCMA/8000\r\n"
        .to_owned()
}

/// The last headers, and the body.
fn typed(body: &str) -> String {
    let kind = match body {
        "" => "",
        text if text.starts_with("v=0") => "Content-Type: application/sdp\r\n",
        _ => "Content-Type: application/dtmf-relay\r\n",
    };
    format!("{kind}Content-Length: {}\r\n\r\n{body}", body.len())
}

async fn becomes(lab: &Lab, device: &Value, state: &str) {
    let path = format!(
        "{}/devices/{}",
        lab.customer,
        device["id"].as_str().unwrap()
    );
    let mut shown = Value::Null;
    for _ in 0..100 {
        shown = lab.send("GET", &path, Value::Null).await.1;
        if shown["state"] == state {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("not {state}: {shown}");
}

/// D-13, D-21, D-22: a telephone that nobody knows fetches a file by which it registers and calls its activation, where its
/// user's code is typed. It is told to look again, finds the user's file, registers as the user's telephone, is online, and
/// is called by its extension. What it was before is nobody any more.
#[tokio::test]
async fn d_a_telephone_from_its_box_to_its_first_call() {
    let lab = Lab::start("").await;
    let sbc = lab.sbc.listening().sip.udp[0];
    let device = lab.assign("yealink-t46u", None).await;
    let code = device["activation_code"]["code"].as_str().unwrap();
    let client = lab.phone(None);
    let (_, file) = client.get(&format!("{MAC}.cfg")).await;
    let mut unboxed = Telephone::of(&file, sbc).await;
    assert_eq!(unboxed.user, format!("act-{MAC}"));
    assert_eq!(unboxed.register().await, 200);
    assert_eq!(unboxed.call("1001").await.0, 403, "it reaches nobody");

    let (answered, line) = unboxed.call(value(&file, "features.hotline_number")).await;
    assert_eq!(answered, 200);
    for digit in code.chars() {
        let key = format!("Signal={digit}\r\nDuration=160\r\n");
        let answer = unboxed.request(Method::Info, &line, "", &key).await;
        assert_eq!(status(&answer), 200);
    }
    let bye = unboxed.asked("BYE").await;
    unboxed.answer(&bye, "200 OK", "").await;
    let notify = unboxed.asked("NOTIFY").await;
    assert_eq!(header(&notify, "Event"), "check-sync;reboot=true");
    unboxed.answer(&notify, "200 OK", "").await;
    assert_eq!(unboxed.register().await, 403, "it is somebody's now");
    becomes(&lab, &device, "activated").await;

    let (_, file) = client.get(&format!("{MAC}.cfg")).await;
    let mut desk = Telephone::of(&file, sbc).await;
    assert_eq!(desk.user, device["sip_username"].as_str().unwrap());
    assert_eq!(desk.register().await, 200);
    becomes(&lab, &device, "online").await;

    let numbers = json!({ "numbers": ["+14255550101"] });
    let below = |what: &str| format!("{}/{what}", lab.customer);
    assert_eq!(lab.send("POST", &below("numbers"), numbers).await.0, 201);
    let user = json!({ "upn": "li@acme.example", "display_name": "Li", "extension": "1002",
        "default_did": "+14255550101", "license_assigned": true });
    let user = lab.made(&below("users"), user).await;
    let other =
        json!({ "user_id": user, "model": "yealink-t46u", "method": "mac", "mac": "001565aabbdd" });
    lab.made(&below("devices"), other).await;
    let (_, file) = lab.phone(None).get("001565aabbdd.cfg").await;
    let mut hall = Telephone::of(&file, sbc).await;
    assert_eq!(hall.register().await, 200);
    let ((answered, call), ()) = tokio::join!(hall.call("1001"), async {
        let invite = desk.asked("INVITE").await;
        assert!(header(&invite, "From").contains("1002"), "{invite}");
        desk.answer(&invite, "200 OK", &sdp()).await;
    });
    assert_eq!(answered, 200);
    let bye = hall.request(Method::Bye, &call, "", "").await;
    assert_eq!(status(&bye), 200);
    desk.asked("BYE").await;
}
