//! Puts verification codes into DNS, by dynamic update (RFC 2136) with a shared key (RFC 8945), and looks whether they are
//! there.
//!
//! A gateway's name is covered by the wildcard of its region's base name until a record of its own stands there, after which
//! the wildcard no longer speaks for it (RFC 4592 §2.2.1). So the base name's addresses go in together with the code.
//! What a server answers to an update is not relied upon: the records are looked at afterwards.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hickory_resolver::proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::TXT;
use hickory_resolver::proto::rr::rdata::tsig::{
    TSIG, TsigAlgorithm, make_tsig_record, message_tbs,
};
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::directory::Secret;

/// How codes get into DNS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ZoneConfig {
    /// The server that takes updates; without one, people put codes into the zone.
    pub primary: Option<SocketAddr>,
    /// The key that it knows us by.
    pub key: Option<ZoneKey>,
    /// Servers that must all show a code before it counts as published; the primary is one of them.
    pub servers: Vec<SocketAddr>,
    /// Of the records, in seconds.
    pub ttl_s: u32,
    /// For one question or update.
    pub timeout: Duration,
}

/// A shared key for HMAC-SHA256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneKey {
    /// As the server calls it.
    pub name: String,
    /// In base 64.
    pub secret: Secret,
}

/// Why DNS does not have what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZoneError {
    /// Not a name.
    #[error("{0:?} is no domain name")]
    Name(String),
    /// The key cannot be used.
    #[error("the key for DNS updates is not in base 64")]
    Key,
    /// A server does not answer.
    #[error("the name server {0} does not answer: {1}")]
    Silent(SocketAddr, String),
    /// A server does not want the update.
    #[error("the name server {0} refuses the update: {1}")]
    Refused(SocketAddr, String),
    /// No zone is above the name.
    #[error("the name server {0} knows no zone for {1}")]
    NoZone(SocketAddr, String),
    /// A server does not show the code.
    #[error("the name server {server} does not show {text:?} at {name}")]
    Missing {
        /// Which.
        server: SocketAddr,
        /// Where.
        name: String,
        /// What.
        text: String,
    },
}

/// Whether a zone could be changed from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It was.
    Updated,
    /// People have to.
    ByHand,
}

/// Longer answers of a name server are none.
const LONGEST: usize = 16 * 1024;
/// Seconds that clocks may differ (RFC 8945 §10).
const FUDGE_S: u16 = 300;

/// The zones that gateways are in.
#[derive(Debug, Clone, Default)]
pub struct Zones(ZoneConfig);

impl Zones {
    /// Opens nothing yet.
    pub fn new(config: ZoneConfig) -> Self {
        Self(config)
    }

    /// What a person puts into the zone file.
    pub fn snippet(&self, name: &str, text: &str) -> String {
        format!("{name}. {} IN TXT \"{text}\"", self.0.ttl_s)
    }

    /// Makes `text` the only text at a name, which gets the addresses of `base`.
    ///
    /// # Errors
    /// The primary cannot be reached or does not take it.
    pub async fn publish(
        &self,
        name: &str,
        text: &str,
        base: &str,
    ) -> Result<Published, ZoneError> {
        let Some(primary) = self.0.primary else {
            return Ok(Published::ByHand);
        };
        let (owner, base) = (domain(name)?, domain(base)?);
        let mut records = Vec::new();
        for kind in [RecordType::A, RecordType::AAAA] {
            let found = self.ask(primary, &base, kind).await?.answers;
            records.extend(
                found
                    .into_iter()
                    .map(|record| record.data)
                    .filter(|data| data.record_type() == kind),
            );
        }
        records.push(RData::TXT(TXT::new(vec![text.to_owned()])));
        let added = records
            .into_iter()
            .map(|data| Record::from_rdata(owner.clone(), self.0.ttl_s, data));
        self.update(primary, &owner, added.collect()).await?;
        Ok(Published::Updated)
    }

    /// Takes away what [`publish`](Self::publish) put there, so that the wildcard speaks for the name again.
    ///
    /// # Errors
    /// The primary cannot be reached or does not take it.
    pub async fn withdraw(&self, name: &str) -> Result<Published, ZoneError> {
        let Some(primary) = self.0.primary else {
            return Ok(Published::ByHand);
        };
        self.update(primary, &domain(name)?, Vec::new()).await?;
        Ok(Published::Updated)
    }

    /// Whether every server shows the text.
    ///
    /// # Errors
    /// The first that does not.
    pub async fn shows(&self, name: &str, text: &str) -> Result<(), ZoneError> {
        let owner = domain(name)?;
        let mut servers = self.0.servers.clone();
        servers.extend(
            self.0
                .primary
                .filter(|primary| !self.0.servers.contains(primary)),
        );
        for server in servers {
            let answer = self.ask(server, &owner, RecordType::TXT).await?;
            let is_there = answer.answers.iter().any(|record| match &record.data {
                RData::TXT(txt) => txt.txt_data.concat() == text.as_bytes(),
                _ => false,
            });
            if !is_there {
                return Err(ZoneError::Missing {
                    server,
                    name: name.to_owned(),
                    text: text.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Texts and addresses at the name go, these records come (RFC 2136 §2.5).
    async fn update(
        &self,
        primary: SocketAddr,
        owner: &Name,
        added: Vec<Record>,
    ) -> Result<(), ZoneError> {
        let zone = self.zone_of(primary, owner).await?;
        let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Update);
        message.add_query(Query::query(zone, RecordType::SOA));
        for kind in [RecordType::TXT, RecordType::A, RecordType::AAAA] {
            let mut gone = Record::update0(owner.clone(), 0, kind);
            gone.dns_class = DNSClass::ANY;
            message.add_authority(gone);
        }
        for record in added {
            message.add_authority(record);
        }
        if let Some(key) = &self.0.key {
            sign(&mut message, key)?;
        }
        let answer = self.exchange(primary, &message).await?;
        match answer.metadata.response_code {
            ResponseCode::NoError => Ok(()),
            code => Err(ZoneError::Refused(primary, code.to_string())),
        }
    }

    /// The zone that a name is in: whose SOA record the server shows for it, in the answer or beside it (RFC 2308 §3).
    async fn zone_of(&self, server: SocketAddr, owner: &Name) -> Result<Name, ZoneError> {
        let answer = self.ask(server, owner, RecordType::SOA).await?;
        let mut records = answer.answers.iter().chain(&answer.authorities);
        let soa = records.find(|record| record.record_type() == RecordType::SOA);
        soa.map(|record| record.name.clone())
            .filter(|zone| zone.zone_of(owner))
            .ok_or_else(|| ZoneError::NoZone(server, owner.to_string()))
    }

    async fn ask(
        &self,
        server: SocketAddr,
        name: &Name,
        kind: RecordType,
    ) -> Result<Message, ZoneError> {
        let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
        message.add_query(Query::query(name.clone(), kind));
        self.exchange(server, &message).await
    }

    /// Over TCP, where nobody answers in another's name and nothing is cut (RFC 7766).
    async fn exchange(&self, server: SocketAddr, message: &Message) -> Result<Message, ZoneError> {
        let silent = |why: String| ZoneError::Silent(server, why);
        let bytes = message
            .to_vec()
            .map_err(|error| silent(error.to_string()))?;
        let length = u16::try_from(bytes.len()).map_err(|error| silent(error.to_string()))?;
        let talk = async {
            let mut stream = TcpStream::connect(server).await?;
            stream
                .write_all(&[&length.to_be_bytes()[..], &bytes].concat())
                .await?;
            let length = usize::from(stream.read_u16().await?);
            let mut answer = vec![0; length.min(LONGEST)];
            stream.read_exact(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = match timeout(self.0.timeout, talk).await {
            Ok(answer) => answer.map_err(|error| silent(error.to_string()))?,
            Err(_) => return Err(silent("time is up".to_owned())),
        };
        let answer = Message::from_vec(&answer).map_err(|error| silent(error.to_string()))?;
        if answer.metadata.id != message.metadata.id {
            return Err(silent("it answers another question".to_owned()));
        }
        Ok(answer)
    }
}

fn domain(name: &str) -> Result<Name, ZoneError> {
    let mut domain = Name::from_ascii(name).map_err(|_| ZoneError::Name(name.to_owned()))?;
    domain.set_fqdn(true);
    Ok(domain)
}

/// RFC 8945 §4: the last record says who sent the message and proves it.
fn sign(message: &mut Message, key: &ZoneKey) -> Result<(), ZoneError> {
    use base64::Engine;
    let secret = base64::prelude::BASE64_STANDARD.decode(key.secret.expose());
    let secret = secret.map_err(|_| ZoneError::Key)?;
    let name = domain(&key.name)?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let (id, algorithm) = (message.metadata.id, TsigAlgorithm::HmacSha256);
    let bare = TSIG::new(algorithm, now, FUDGE_S, Vec::new(), id, None, Vec::new());
    let signed =
        message_tbs(&*message, &bare, &name).map_err(|_| ZoneError::Name(key.name.clone()))?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret).map_err(|_| ZoneError::Key)?;
    mac.update(&signed);
    let tsig = bare.set_mac(mac.finalize().into_bytes().to_vec());
    message.signature = Some(Box::new(make_tsig_record(name, tsig)));
    Ok(())
}
