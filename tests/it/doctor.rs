//! The doctor among emulators: each test plants one fault and looks for the check that tells of it.

#![allow(clippy::unwrap_used)] // not all of a test is inside #[test]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::TXT;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, RsaKeySize, date_time_ymd,
};
use tollgate::config;
use tollgate::directory::{Directory, UdpToTcp};
use tollgate::doctor::{
    Check, Diagnosis, Doctor, Verdict, Wanted, certificate, name, numbers, options,
};
use tollgate::emulate::{Authority, Gateway, KeyKind, Pbx, PbxConfig, Teams, TeamsConfig, Usage};
use tollgate::net::{self, TlsMaterial};
use uuid::Uuid;

use crate::sim::setup::{ACME_FQDN, BASE_FQDN, Setup};

/// What a test plants.
struct Plant {
    /// Names in our certificate.
    names: &'static [&'static str],
    key: Key,
    /// Names that the emulated Teams knows.
    known: &'static [&'static str],
    /// Nobody listens where Teams should be.
    nobody: bool,
    /// A name server to ask.
    nameserver: Option<SocketAddr>,
    setup: Setup,
}

#[derive(Clone, Copy, PartialEq)]
enum Key {
    Rsa,
    Ec,
    /// With an intermediate authority, whose certificate is in the file or not.
    Intermediate {
        sent: bool,
    },
    Expired,
}

impl Default for Plant {
    fn default() -> Self {
        Self {
            names: &[BASE_FQDN, "*.eu.example"],
            key: Key::Rsa,
            known: &[BASE_FQDN, ACME_FQDN],
            nobody: false,
            nameserver: None,
            setup: Setup::default(),
        }
    }
}

/// A doctor, and what keeps the emulator alive.
struct Clinic {
    doctor: Doctor,
    directory: Arc<Directory>,
    config: config::Config,
    folder: tempfile::TempDir,
    _teams: Teams,
}

impl Clinic {
    async fn open(plant: Plant) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let microsoft = Authority::new("Microsoft").unwrap();
        let roots = certify(&plant, &file("sbc.pem"), &file("sbc.key"));
        std::fs::write(file("public.pem"), &roots).unwrap();
        std::fs::write(file("microsoft.pem"), microsoft.pem()).unwrap();
        let theirs = microsoft
            .issue(&["sip.pstnhub.microsoft.com"], Usage::Server, KeyKind::Ec)
            .unwrap();
        let nowhere = "127.0.0.1:9".parse().unwrap();
        let mut settings = TeamsConfig::new(nowhere, theirs.clone(), theirs, roots);
        let gateway = |fqdn: &&str| Gateway {
            fqdn: (*fqdn).to_owned(),
            numbers: Vec::new(),
        };
        settings.gateways = plant.known.iter().map(gateway).collect();
        let teams = Teams::start(settings).await.unwrap();
        let port = if plant.nobody {
            9
        } else {
            teams.address.port()
        };
        let servers = plant
            .nameserver
            .map(|server| format!("nameservers = [\"{server}\"]\n"));
        let ours = match plant.nameserver {
            Some(_) => String::new(),
            None => {
                format!(", \"{BASE_FQDN}\" = [\"127.0.0.1\"], \"{ACME_FQDN}\" = [\"127.0.0.1\"]")
            }
        };
        let text = format!(
            "data_dir = {:?}\n[sip]\ntls = [\"127.0.0.1:9\"]\n\
             [tls]\ncertificate = {:?}\nprivate_key = {:?}\nteams_roots = {:?}\n\
             [teams]\nproxies = [\"sip.pstnhub.microsoft.com:{port}\"]\n\
             address_ranges = [\"52.112.0.0/14\", \"52.120.0.0/14\", \"127.0.0.0/8\"]\n\
             [dns]\n{}hosts = {{ \"sip.pstnhub.microsoft.com\" = [\"127.0.0.1\"]{ours} }}\n",
            file("data"),
            file("sbc.pem"),
            file("sbc.key"),
            file("microsoft.pem"),
            servers.unwrap_or_default(),
        );
        std::fs::write(file("tollgate.toml"), text).unwrap();
        let config = config::load(Some(&file("tollgate.toml")), []).unwrap();
        let tls = TlsMaterial::load(config.tls());
        let settings = tollgate::doctor::Config {
            roots: Some(file("public.pem")),
            ..config.doctor()
        };
        Self {
            doctor: Doctor::new(
                settings,
                tls.map(Arc::new).map_err(|errors| errors.to_string()),
            ),
            directory: Arc::new(Directory::compile(plant.setup.rows).unwrap()),
            config,
            folder,
            _teams: teams,
        }
    }

    async fn gateway(&self) -> Diagnosis {
        self.doctor
            .teams(&self.directory, Wanted::Gateway(ACME_FQDN))
            .await
            .unwrap()
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("sbc.pem")
    }
}

/// Writes a certificate and its key; the root that signed it.
fn certify(plant: &Plant, chain: &std::path::Path, key: &std::path::Path) -> String {
    if matches!(plant.key, Key::Rsa | Key::Ec) {
        let public = Authority::new("Public").unwrap();
        let kind = if plant.key == Key::Rsa {
            KeyKind::Rsa
        } else {
            KeyKind::Ec
        };
        let issued = public.issue(plant.names, Usage::Both, kind).unwrap();
        issued.write(chain, key).unwrap();
        return public.pem();
    }
    let authority = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let root =
        CertifiedIssuer::self_signed(authority("Root"), KeyPair::generate().unwrap()).unwrap();
    let middle =
        CertifiedIssuer::signed_by(authority("Middle"), KeyPair::generate().unwrap(), &root)
            .unwrap();
    let names: Vec<_> = plant.names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    if plant.key == Key::Expired {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    }
    let pair = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let leaf = params.signed_by(&pair, &middle).unwrap();
    let mut text = leaf.pem();
    if plant.key != (Key::Intermediate { sent: false }) {
        text.push_str(&middle.pem());
    }
    std::fs::write(chain, text).unwrap();
    std::fs::write(key, pair.serialize_pem()).unwrap();
    root.pem()
}

/// The gravest of the checks of this name.
fn check<'a>(diagnosis: &'a Diagnosis, name: &str) -> &'a Check {
    let named = diagnosis.checks.iter().filter(|check| check.name == name);
    let gravest = named.max_by_key(|check| check.verdict);
    gravest.unwrap_or_else(|| panic!("no check of {name} in\n{diagnosis}"))
}

fn is(diagnosis: &Diagnosis, name: &str, verdict: Verdict, words: &str) {
    let check = check(diagnosis, name);
    let text = format!("{} {}", check.evidence, check.remedy);
    assert!(
        check.verdict == verdict && text.contains(words),
        "{name}: {words} not in\n{diagnosis}"
    );
}

/// Without a fault nothing is found, everything that can be looked at is, and the script is there to be copied
/// (TDR-1123, TDR-1203).
#[tokio::test]
async fn a_sound_gateway_has_no_fault() {
    for key in [Key::Rsa, Key::Intermediate { sent: true }] {
        let clinic = Clinic::open(Plant {
            key,
            ..Plant::default()
        })
        .await;
        let found = clinic.gateway().await;
        assert!(found.verdict() < Verdict::Warning, "{found}");
        is(&found, certificate::CHAIN, Verdict::Ok, "known root");
        is(&found, options::ANSWER, Verdict::Ok, "200");
        is(&found, "TLS handshake", Verdict::Ok, "TLSv1_3");
        is(&found, options::OWN, Verdict::Ok, "REFER allowed");
        is(&found, numbers::NUMBERS, Verdict::Ok, "acme");
        is(&found, name::DNS, Verdict::NotChecked, "dns.hosts");
        is(
            &found,
            "our listener",
            Verdict::NotChecked,
            "is the SBC running?",
        );
        let script = found.script.unwrap();
        assert!(
            script.contains("New-CsOnlinePSTNGateway -Fqdn eu.example")
                && script.contains(ACME_FQDN)
        );
        assert!(
            clinic
                .doctor
                .teams(&clinic.directory, Wanted::Gateway("nobody.example"))
                .await
                .is_err()
        );
        let file = clinic
            .doctor
            .certificate(&clinic.certificate(), Some(&clinic.directory));
        // The world has a second gateway, which the wildcard covers as well.
        assert_eq!(file.verdict(), Verdict::Ok, "{file}");
    }
}

/// TDR-130: without the base name OPTIONS are refused, without the wildcard calls; each is found in the certificate, and
/// the first one in Teams' answer, too.
#[tokio::test]
async fn a_certificate_without_base_or_wildcard() {
    let clinic = Clinic::open(Plant {
        names: &["*.eu.example"],
        ..Plant::default()
    })
    .await;
    let found = clinic.gateway().await;
    is(
        &found,
        certificate::NAMES,
        Verdict::Fault,
        "do not cover eu.example",
    );
    is(&found, options::ANSWER, Verdict::Fault, "403");
    let clinic = Clinic::open(Plant {
        names: &[BASE_FQDN],
        ..Plant::default()
    })
    .await;
    let found = clinic.gateway().await;
    is(
        &found,
        certificate::NAMES,
        Verdict::Fault,
        "do not cover acme.eu.example",
    );
    is(&found, options::ANSWER, Verdict::Ok, "200");
}

/// An expired certificate, one with an EC key (TDR-121), and one without its intermediates (TDR-122), which the emulated
/// Teams refuses as the real one does.
#[tokio::test]
async fn certificates_that_teams_refuses() {
    let expired = Clinic::open(Plant {
        key: Key::Expired,
        ..Plant::default()
    })
    .await
    .gateway()
    .await;
    is(&expired, certificate::EXPIRY, Verdict::Fault, "it expired");
    is(&expired, "certificate files", Verdict::Fault, "expired");
    let ec = Clinic::open(Plant {
        key: Key::Ec,
        ..Plant::default()
    })
    .await
    .gateway()
    .await;
    is(&ec, certificate::KEY, Verdict::Warning, "EC, 256 bits");
    let key = Key::Intermediate { sent: false };
    let alone = Clinic::open(Plant {
        key,
        ..Plant::default()
    })
    .await
    .gateway()
    .await;
    is(&alone, certificate::CHAIN, Verdict::Fault, "CN=Middle");
    is(&alone, options::ANSWER, Verdict::Fault, "sip.pstnhub");
}

/// TDR-108, TDR-109: a name that has a TXT record, and therefore no address by the wildcard; and one that does not exist.
#[tokio::test]
async fn a_name_with_text_only() {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let nameserver = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((n, peer)) = socket.recv_from(&mut buffer).await {
            let request = Message::from_vec(&buffer[..n]).unwrap();
            let query = request.queries[0].clone();
            let mut response = Message::response(request.metadata.id, request.metadata.op_code);
            let verified = query.name().to_string() == format!("{ACME_FQDN}.");
            if !verified {
                response.metadata.response_code = ResponseCode::NXDomain;
            } else if query.query_type() == RecordType::TXT {
                let text = RData::TXT(TXT::new(vec!["MS=ms12345678".to_owned()]));
                response.add_answer(Record::from_rdata(query.name().clone(), 60, text));
            }
            response.add_query(query);
            socket
                .send_to(&response.to_vec().unwrap(), peer)
                .await
                .unwrap();
        }
    });
    let plant = Plant {
        nameserver: Some(nameserver),
        ..Plant::default()
    };
    let found = Clinic::open(plant).await.gateway().await;
    let dns: Vec<_> = found
        .checks
        .iter()
        .filter(|check| check.name == name::DNS)
        .collect();
    assert!(
        dns[0].evidence.contains("eu.example does not exist") && dns[0].remedy.contains("569015"),
        "{found}"
    );
    assert!(
        dns[1].evidence.contains("TXT record and no address") && dns[1].remedy.contains("569016"),
        "{found}"
    );
    assert!(dns.iter().all(|check| check.verdict == Verdict::Fault));
}

/// Nobody where Teams should be, and a name that no tenant knows: 403, decoded (TDR-210).
#[tokio::test]
async fn teams_that_does_not_want_us() {
    let found = Clinic::open(Plant {
        nobody: true,
        ..Plant::default()
    })
    .await
    .gateway()
    .await;
    is(
        &found,
        "TLS handshake",
        Verdict::Fault,
        "no TLS server answers there",
    );
    let found = Clinic::open(Plant {
        known: &[ACME_FQDN],
        ..Plant::default()
    })
    .await
    .gateway()
    .await;
    is(&found, options::ANSWER, Verdict::Fault, "403");
    is(&found, options::ANSWER, Verdict::Fault, "no tenant knows");
}

/// TDR-203: an address in Contact is refused by Teams, and told before it is tried.
#[tokio::test]
async fn an_address_in_contact() {
    let mut setup = Setup::default();
    setup.rows.regions[0].base_fqdn = "127.0.0.1".into();
    let found = Clinic::open(Plant {
        setup,
        ..Plant::default()
    })
    .await
    .gateway()
    .await;
    is(
        &found,
        name::RULES,
        Verdict::Fault,
        "Teams dials names only",
    );
    is(
        &found,
        options::ANSWER,
        Verdict::Fault,
        "an address in Contact",
    );
}

/// What our own listener shows is looked at without being trusted: the names of the certificate in use, which may be
/// another one than the file's.
#[tokio::test]
async fn our_own_listener_shows_its_certificate() {
    for (plant, verdict) in [
        (Plant::default(), Verdict::Ok),
        (
            Plant {
                names: &["*.eu.example"],
                ..Plant::default()
            },
            Verdict::Fault,
        ),
    ] {
        let clinic = Clinic::open(plant).await;
        let material = Arc::new(TlsMaterial::load(clinic.config.tls()).unwrap());
        let settings = net::Config {
            tls: vec!["127.0.0.1:0".parse().unwrap()],
            ..net::Config::default()
        };
        let (network, _arrivals) = net::start(settings, Some(material.clone())).unwrap();
        let settings = tollgate::doctor::Config {
            listening: network.addresses().tls.clone(),
            ..clinic.config.doctor()
        };
        let doctor = Doctor::new(settings, Ok(material));
        let found = doctor
            .teams(&clinic.directory, Wanted::Gateway(ACME_FQDN))
            .await
            .unwrap();
        is(&found, "our listener", verdict, "eu.example");
        network.close().await;
    }
}

/// Of many gateways some at a time are looked at, in the order of their names, and it is told how many are left and where
/// they begin; the parts together are the whole.
#[tokio::test]
async fn many_gateways_are_looked_at_in_parts() {
    let mut setup = Setup::default();
    for n in 0..5 {
        let (mut gateway, mut customer) = (
            setup.rows.gateways[0].clone(),
            setup.rows.customers[0].clone(),
        );
        (customer.id, customer.account_id) = (Uuid::from_u128(800 + n), format!("c{n}"));
        (gateway.id, gateway.customer) = (Uuid::from_u128(900 + n), customer.id);
        gateway.fqdn = format!("c{n}.eu.example");
        setup.rows.gateways.push(gateway);
        setup.rows.customers.push(customer);
    }
    let all = setup.rows.gateways.len();
    let clinic = Clinic::open(Plant {
        setup,
        ..Plant::default()
    })
    .await;
    let (mut seen, mut after) = (Vec::new(), None);
    while seen.len() < all {
        let wanted = Wanted::Next {
            most: 3,
            after: after.as_deref(),
        };
        let found = clinic
            .doctor
            .teams(&clinic.directory, wanted)
            .await
            .unwrap();
        let looked: Vec<String> = found
            .checks
            .iter()
            .filter(|check| check.name == name::RULES)
            .map(|check| check.evidence.clone())
            .filter(|evidence| !evidence.starts_with("eu.example"))
            .collect();
        assert!(looked.len() <= 3, "{looked:?}");
        seen.extend(looked);
        let left = all - seen.len();
        let told = found
            .checks
            .iter()
            .find(|check| check.name == "names left out");
        assert_eq!(told.is_some(), left > 0, "{found}");
        if let Some(told) = told {
            assert!(
                told.evidence.starts_with(&format!("{left} gateways")),
                "{told:?}"
            );
            after = told.evidence.rsplit(' ').next().map(str::to_owned);
        }
    }
    assert_eq!(seen.len(), all);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), all, "each once");
}

/// A peer on UDP that takes small requests and drops large ones, as behind a firewall that drops pieces of datagrams, and
/// one that does not listen for TCP although its profile says that large requests go by it (RFC 3261 §18.1.1).
#[tokio::test]
async fn large_requests_to_a_trunk_are_tried() {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    let largest = Arc::new(AtomicUsize::new(1300));
    let limit = largest.clone();
    let peer = tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        while let Ok((n, from)) = socket.recv_from(&mut buffer).await {
            if n <= limit.load(Ordering::Relaxed) {
                let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
                let answer = text
                    .lines()
                    .skip(1)
                    .filter(|l| !l.is_empty() && !l.starts_with("Subject"));
                let answer = answer.collect::<Vec<_>>().join("\r\n");
                let answer = format!("SIP/2.0 200 OK\r\n{answer}\r\n\r\n");
                socket.send_to(answer.as_bytes(), from).await.unwrap();
            }
        }
    });
    let look = async |policy| {
        let setup = Setup::default().trunk_with("pbx", |trunk| {
            (trunk.host, trunk.port) = (at.ip().to_string(), Some(at.port()));
            trunk.acl = vec![at.ip().into()];
            trunk.profile.udp_to_tcp = policy;
        });
        let plant = Plant {
            setup,
            ..Plant::default()
        };
        let clinic = Clinic::open(plant).await;
        clinic.doctor.trunk(&clinic.directory, "pbx").await.unwrap()
    };
    let found = look(UdpToTcp::Never).await;
    is(
        &found,
        "large requests",
        Verdict::Warning,
        "2000 bytes by UDP",
    );
    is(&found, options::ANSWER, Verdict::Ok, "200");
    let found = look(UdpToTcp::WhenLarge).await;
    is(&found, "large requests", Verdict::Warning, "by TCP");
    largest.store(65_536, Ordering::Relaxed);
    let found = look(UdpToTcp::Never).await;
    is(&found, "large requests", Verdict::Ok, "is answered");
    peer.abort();
}

/// A trunk: where it is, whether it answers, and what is provisioned of it.
#[tokio::test]
async fn a_trunk_is_looked_at() {
    let pbx = Pbx::start(PbxConfig::new("127.0.0.1:9".parse().unwrap()))
        .await
        .unwrap();
    let at = pbx.address;
    let setup = move || {
        Setup::default().trunk_with("pbx", |trunk| {
            (trunk.host, trunk.port) = (at.ip().to_string(), Some(at.port()));
            trunk.acl = vec![at.ip().into()];
        })
    };
    let clinic = Clinic::open(Plant {
        setup: setup(),
        ..Plant::default()
    })
    .await;
    let found = clinic.doctor.trunk(&clinic.directory, "pbx").await.unwrap();
    is(&found, options::ANSWER, Verdict::Ok, "answers");
    is(&found, "trunk settings", Verdict::Ok, "in service");
    assert!(
        clinic
            .doctor
            .trunk(&clinic.directory, "nobody")
            .await
            .is_err()
    );

    let strange = setup().trunk_with("pbx", |t| t.acl = vec!["192.0.2.0/24".parse().unwrap()]);
    let clinic = Clinic::open(Plant {
        setup: strange,
        ..Plant::default()
    })
    .await;
    let found = clinic.doctor.trunk(&clinic.directory, "pbx").await.unwrap();
    is(&found, "trunk settings", Verdict::Warning, "127.0.0.1");

    let silent = setup().trunk_with("pbx", |t| (t.port, t.acl) = (Some(9), Vec::new()));
    let clinic = Clinic::open(Plant {
        setup: silent,
        ..Plant::default()
    })
    .await;
    let found = clinic.doctor.trunk(&clinic.directory, "pbx").await.unwrap();
    is(&found, "trunk settings", Verdict::Fault, "nobody is let in");
    assert_eq!(check(&found, options::ANSWER).verdict, Verdict::Fault);
}
