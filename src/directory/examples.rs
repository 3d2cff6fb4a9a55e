//! Rows for tests: customer `acme` with what a test adds.

use super::*;
use crate::sip::{Flow, Hop, PeerCertificate, Realm, Source, Transport};
use std::net::SocketAddr;

/// An id that depends on nothing but the name.
pub fn id(name: &str) -> Uuid {
    let bytes = name.bytes().fold(0xcbf2_9ce4_8422_2325_u128, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0100_0000_01b3_0000_0000_01b3)
    });
    Uuid::from_u128(bytes)
}

pub fn region(code: &str) -> Region {
    Region {
        code: code.into(),
        base_fqdn: format!("{}.example", code.to_lowercase()),
        sip_port: 5061,
        media_bypass: false,
        emergency_numbers: Vec::new(),
        enabled: true,
    }
}

pub fn customer(account: &str) -> Customer {
    Customer {
        id: id(account),
        account_id: account.into(),
        name: account.to_uppercase(),
        max_channels: 10,
        regions: vec!["EU".into()],
        pbx_moh: false,
        music: None,
        caller_screening: true,
        emergency_numbers: Vec::new(),
        admin_state: AdminState::Enabled,
        activation_state: ActivationState::Active,
    }
}

pub fn gateway(customer: &Customer, region: &str, fqdn: &str) -> Gateway {
    Gateway {
        id: id(fqdn),
        customer: customer.id,
        region: region.into(),
        fqdn: fqdn.into(),
        sip_port: 5061,
        media_bypass: false,
        state: GatewayState::Active,
    }
}

pub fn phone_number(number: &str, customer: &Customer) -> PhoneNumber {
    PhoneNumber {
        number: number.parse().unwrap(),
        customer: customer.id,
        in_service: true,
    }
}

/// A trunk on UDP that sends from 198.51.100.1.
pub fn trunk(name: &str, customer: Option<Uuid>) -> Trunk {
    Trunk {
        id: id(name),
        customer,
        name: name.into(),
        role: if customer.is_some() {
            Role::Pbx
        } else {
            Role::Carrier
        },
        transport: Transport::Udp,
        host: format!("{name}.example"),
        port: None,
        auth: Auth::IpAcl,
        username: None,
        password: None,
        acl: vec!["198.51.100.1/32".parse().unwrap()],
        cac_max_sessions: None,
        number_format: NumberFormat::E164,
        options_ping: None,
        priority: 0,
        weight: 1,
        state: TrunkState::InService,
        profile: Profile::trunk(),
        line: None,
    }
}

/// A user of an exchange at `pbx.example`, with these numbers at Teams.
pub fn registration(user: &str, customer: &Customer, numbers: &[&str]) -> Registration {
    let pbx = Pbx {
        id: id("exchange"),
        name: "exchange".into(),
        kind: PbxKind::Generic,
        domain: "pbx.example".into(),
        registrar: "pbx.example".into(),
        hop: Hop {
            host: "pbx.example".into(),
            port: None,
            transport: Some(Transport::Udp),
            realm: Realm::Trunk,
        },
        expires_s: 3600,
        keep_alive: None,
        acl: Vec::new(),
        profile: PbxKind::Generic.profile(),
    };
    Registration {
        id: id(user),
        registrant: Registrant::User,
        customer: Some(customer.id),
        numbers: numbers.iter().map(|n| n.parse().unwrap()).collect(),
        username: user.into(),
        auth_name: format!("auth-{user}").into(),
        password: Secret::new("s3same"),
        token: format!("tok{user}").into(),
        pbx: pbx.into(),
    }
}

/// One region, `acme` in it with an active gateway and a number, and these trunks.
pub fn rows(trunks: Vec<Trunk>) -> Rows {
    let acme = customer("acme");
    Rows {
        generation: 1,
        regions: vec![region("EU")],
        gateways: vec![gateway(&acme, "EU", "acme.eu.example")],
        numbers: vec![phone_number("+14255550100", &acme)],
        customers: vec![acme],
        trunks,
        ..Rows::default()
    }
}

pub fn directory(trunks: Vec<Trunk>) -> Directory {
    Directory::compile(rows(trunks)).unwrap()
}

pub fn source(transport: Transport, remote: &str) -> Source {
    let remote: SocketAddr = remote.parse().unwrap();
    Source {
        transport,
        flow: Flow(1),
        remote,
        local: "192.0.2.1:5061".parse().unwrap(),
        certificate: None,
    }
}

pub fn from_teams() -> Source {
    let certificate = PeerCertificate {
        realm: Realm::Teams,
        names: vec!["sip.pstnhub.microsoft.com".into()],
    };
    Source {
        certificate: Some(certificate.into()),
        ..source(Transport::Tls, "52.114.75.24:10001")
    }
}
