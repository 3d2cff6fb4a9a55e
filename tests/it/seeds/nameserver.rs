//! A small authoritative name server for one zone, which takes updates that bear a signature (RFC 2136).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, SOA};
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// What it is called, and its key.
pub const ZONE: &str = "tollgate.test.";
pub const KEY_NAME: &str = "tollgate-key.";
const KEY: &[u8] = b"a key of thirty-two bytes, or so";

/// Its records, for whoever looks behind its back.
pub type Records = Arc<Mutex<Vec<Record>>>;

pub struct NameServer {
    pub address: SocketAddr,
    pub records: Records,
}

/// The key as a configuration has it.
pub fn key() -> String {
    BASE64_STANDARD.encode(KEY)
}

impl NameServer {
    /// With an address at `base`.
    pub async fn start(base: &str) -> Self {
        let name = |text: &str| Name::from_ascii(text).unwrap();
        let soa = SOA::new(
            name(ZONE),
            name("hostmaster.tollgate.test."),
            1,
            60,
            60,
            60,
            60,
        );
        let records = vec![
            Record::from_rdata(name(ZONE), 60, RData::SOA(soa)),
            Record::from_rdata(
                name(&format!("{base}.")),
                60,
                RData::A(A::new(127, 0, 0, 1)),
            ),
        ];
        let records = Arc::new(Mutex::new(records));
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).await.unwrap();
        tokio::spawn(stream(tcp, records.clone()));
        tokio::spawn(datagrams(udp, records.clone()));
        Self { address, records }
    }

    /// The texts at a name.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let name = Name::from_ascii(format!("{name}.")).unwrap();
        let records = self.records.lock().unwrap();
        let texts = records.iter().filter(|record| record.name == name);
        texts
            .filter_map(|record| match &record.data {
                RData::TXT(txt) => Some(String::from_utf8(txt.txt_data.concat()).unwrap()),
                _ => None,
            })
            .collect()
    }

    /// How many addresses a name has.
    pub fn addresses(&self, name: &str) -> usize {
        let name = Name::from_ascii(format!("{name}.")).unwrap();
        let records = self.records.lock().unwrap();
        records
            .iter()
            .filter(|r| r.name == name && r.record_type() == RecordType::A)
            .count()
    }
}

async fn stream(listener: TcpListener, records: Records) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let records = records.clone();
        tokio::spawn(async move {
            while let Ok(length) = stream.read_u16().await {
                let mut request = vec![0; length.into()];
                stream.read_exact(&mut request).await.unwrap();
                let answer = answer(&request, &records);
                let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                stream
                    .write_all(&[&length[..], &answer].concat())
                    .await
                    .unwrap();
            }
        });
    }
}

async fn datagrams(socket: UdpSocket, records: Records) {
    let mut buffer = [0; 1500];
    while let Ok((n, peer)) = socket.recv_from(&mut buffer).await {
        let answer = answer(&buffer[..n], &records);
        socket.send_to(&answer, peer).await.unwrap();
    }
}

fn answer(request: &[u8], records: &Records) -> Vec<u8> {
    let request = Message::from_vec(request).unwrap();
    let mut answer = Message::response(request.metadata.id, request.metadata.op_code);
    answer.metadata.authoritative = true;
    let query = request.queries[0].clone();
    let mut records = records.lock().unwrap();
    if request.metadata.op_code == OpCode::Update {
        answer.metadata.response_code = match is_signed(&request) {
            true => update(&request, &mut records),
            false => ResponseCode::NotAuth,
        };
    } else {
        let at_name = |record: &&Record| record.name == *query.name();
        let found: Vec<_> = records.iter().filter(at_name).cloned().collect();
        if found.is_empty() {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        let of_type: Vec<_> = found
            .into_iter()
            .filter(|r| r.record_type() == query.query_type())
            .collect();
        if of_type.is_empty() {
            answer.add_authority(records[0].clone());
        }
        for record in of_type {
            answer.add_answer(record);
        }
    }
    answer.add_query(query);
    answer.to_vec().unwrap()
}

/// Whether it says to come from whoever has the key. That the proof is right a real name server finds out, in `tests/peers`.
fn is_signed(request: &Message) -> bool {
    request.additionals.last().is_some_and(|record| {
        record.record_type() == RecordType::TSIG && record.name.to_string() == KEY_NAME
    })
}

/// RFC 2136 §3.4.2, as far as it is used.
fn update(request: &Message, records: &mut Vec<Record>) -> ResponseCode {
    let zone = Name::from_ascii(ZONE).unwrap();
    if *request.queries[0].name() != zone {
        return ResponseCode::NotZone;
    }
    for change in &request.authorities {
        assert!(zone.zone_of(&change.name));
        match change.dns_class {
            DNSClass::ANY => {
                records.retain(|r| r.name != change.name || r.record_type() != change.record_type())
            }
            _ => records.push(change.clone()),
        }
    }
    ResponseCode::NoError
}
