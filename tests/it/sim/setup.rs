//! The world that tests begin with: customer `acme` with a gateway and two PBX trunks, its rival, a shared carrier.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tollgate::b2bua::{Config, RegistrarConfig, RegistrationConfig, UnknownPeers};
use tollgate::directory::{
    ActivationState, AdminState, Auth, Customer, Gateway, GatewayState, NumberFormat, Pbx, PbxKind,
    Phone, PhoneNumber, Profile, Region, Registrant, Registration, Role, Rows, Secret, Trunk,
    TrunkState,
};
use tollgate::sip::{self, Hop, Realm, Transport};
use uuid::Uuid;

use super::phone::Account;

/// Agents, by their place in the world.
pub type Who = usize;
pub const TEAMS: Who = 0;
pub const TEAMS2: Who = 1;
pub const TEAMS3: Who = 2;
/// `acme`'s exchange.
pub const PBX: Who = 3;
/// `acme`'s second exchange, tried after the first; out of service unless a test says otherwise.
pub const BACKUP: Who = 4;
/// A carrier that all customers share; it delivers calls and is given none, unless a test says otherwise.
pub const CARRIER: Who = 5;
/// The exchange of another customer.
pub const RIVAL: Who = 6;
/// Nobody knows it.
pub const STRANGER: Who = 7;

/// Telephones, `acme`'s once a test has given them to it.
pub const DESK: Who = 8;
pub const HALL: Who = 9;

/// What `desk` registers by: extension 1001, with a number.
pub const DESK_ACCOUNT: Account = Account {
    user: "desk",
    password: "desk-secret",
};
/// What `hall` registers by: extension 1002, without a number.
pub const HALL_ACCOUNT: Account = Account {
    user: "hall",
    password: "hall-secret",
};
/// The number of `desk`.
pub const DESK_NUMBER: &str = "+14255550110";
/// By which telephones register that nobody has activated.
pub const BOOTSTRAP_PASSWORD: &str = "unboxed";
/// As what `desk` registers when it comes out of its box.
pub const UNBOXED: Account = Account {
    user: "act-001565aabbcc",
    password: BOOTSTRAP_PASSWORD,
};
pub const DESK_MAC: [u8; 6] = [0x00, 0x15, 0x65, 0xaa, 0xbb, 0xcc];

/// A number of `acme` at Teams, and another.
pub const ALICE: &str = "+14255550100";
pub const BOB: &str = "+14255550101";
/// A number of `acme` that is not in service.
pub const GONE: &str = "+14255550109";
/// A number of `rival`.
pub const RIVALS: &str = "+14255550200";
/// Somebody in the public network.
pub const OUTSIDE: &str = "+442075550123";

pub const ACME_FQDN: &str = "acme.eu.example";
/// Another name of `acme` at Teams.
pub const ACME2_FQDN: &str = "acme.us.example";
pub const RIVAL_FQDN: &str = "rival.eu.example";
pub const BASE_FQDN: &str = "eu.example";
pub const BASE2_FQDN: &str = "us.example";

pub const ACME: Uuid = Uuid::from_u128(0xacce);
pub const RIVAL_ID: Uuid = Uuid::from_u128(0x4174);

/// Everything a world is made from; a test changes what it is about.
pub struct Setup {
    pub rows: Rows,
    pub config: Config,
    pub endpoint: sip::Config,
}

impl Default for Setup {
    fn default() -> Self {
        let mut backup = trunk("backup", 11, Some(ACME));
        (backup.priority, backup.state) = (1, TrunkState::OutOfService);
        let mut carrier = trunk("carrier", 20, None);
        (carrier.role, carrier.state) = (Role::Carrier, TrunkState::OutOfService);
        Self {
            rows: Rows {
                generation: 1,
                regions: vec![Region {
                    code: "EU".into(),
                    base_fqdn: BASE_FQDN.into(),
                    sip_port: 5061,
                    media_bypass: false,
                    emergency_numbers: Vec::new(),
                    enabled: true,
                }],
                customers: vec![customer(ACME, "acme"), customer(RIVAL_ID, "rival")],
                gateways: vec![gateway(ACME, ACME_FQDN), gateway(RIVAL_ID, RIVAL_FQDN)],
                numbers: vec![
                    number(ALICE, ACME),
                    number(BOB, ACME),
                    PhoneNumber {
                        in_service: false,
                        ..number(GONE, ACME)
                    },
                    number(RIVALS, RIVAL_ID),
                ],
                trunks: vec![
                    trunk("pbx", 10, Some(ACME)),
                    backup,
                    carrier,
                    trunk("rival-pbx", 30, Some(RIVAL_ID)),
                ],
                ..Rows::default()
            },
            config: config(),
            endpoint: sip::Config::default(),
        }
    }
}

impl Setup {
    pub fn acme(&mut self) -> &mut Customer {
        &mut self.rows.customers[0]
    }

    /// The carrier trunk at Teams has media bypass, and another port for that (TDR-846).
    pub fn with_media_bypass(mut self) -> Self {
        for region in &mut self.rows.regions {
            (region.media_bypass, region.sip_port) = (true, 5062);
        }
        for gateway in &mut self.rows.gateways {
            (gateway.media_bypass, gateway.sip_port) = (true, 5062);
        }
        self
    }

    /// The trunk of this name.
    pub fn trunk(&mut self, name: &str) -> &mut Trunk {
        self.rows
            .trunks
            .iter_mut()
            .find(|t| t.name == name)
            .expect("a trunk of these tests")
    }

    /// A call from Teams tries the second exchange after the first.
    pub fn with_backup(mut self) -> Self {
        self.trunk("backup").state = TrunkState::InService;
        self
    }

    /// `acme` has a second name at Teams, which calls from there may use.
    pub fn with_second_gateway(mut self) -> Self {
        self.rows.regions.push(Region {
            code: "US".into(),
            base_fqdn: BASE2_FQDN.into(),
            ..self.rows.regions[0].clone()
        });
        self.rows.gateways.push(Gateway {
            id: Uuid::from_u128(ACME.as_u128() + 2),
            region: "US".into(),
            state: GatewayState::Verified,
            ..gateway(ACME, ACME2_FQDN)
        });
        self
    }

    pub fn acme_with(mut self, change: impl FnOnce(&mut Customer)) -> Self {
        change(self.acme());
        self
    }

    /// `acme` has two telephones, and a carrier that takes calls.
    pub fn with_phones(mut self) -> Self {
        self.trunk("carrier").state = TrunkState::InService;
        self.rows.numbers.push(number(DESK_NUMBER, ACME));
        self.rows.phones = vec![
            Phone {
                number: Some(DESK_NUMBER.parse().expect("E.164")),
                bootstrap: Some(DESK_MAC),
                ..phone(DESK_ACCOUNT, 1001)
            },
            phone(HALL_ACCOUNT, 1002),
        ];
        self
    }

    pub fn trunk_with(mut self, name: &str, change: impl FnOnce(&mut Trunk)) -> Self {
        change(self.trunk(name));
        self
    }

    pub fn config_with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }
}

fn config() -> Config {
    let local = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let proxy = |host: &str| Hop {
        host: host.into(),
        port: Some(5061),
        transport: Some(Transport::Tls),
        realm: Realm::Teams,
    };
    Config {
        ring_timeout: Duration::from_secs(60),
        max_duration: None,
        max_calls: 100,
        max_announcements: 10,
        announcement_max: Duration::from_secs(30),
        media_inactivity: Some(Duration::from_secs(30)),
        media_address: local,
        advertised_address: local,
        teams_profile: Arc::new(Profile::teams()),
        phone_profile: Arc::new(Profile::phone()),
        registrar: RegistrarConfig {
            bootstrap_password: Some(Secret::new(BOOTSTRAP_PASSWORD)),
            sha256: true,
            ..RegistrarConfig::default()
        },
        teams_proxies: vec![
            proxy("sip.pstnhub.microsoft.com"),
            proxy("sip2.pstnhub.microsoft.com"),
            proxy("sip3.pstnhub.microsoft.com"),
        ],
        teams_domains: vec!["pstnhub.microsoft.com".into()],
        options_interval: Duration::from_secs(60),
        unknown_peers: UnknownPeers::Refuse,
        registrations: RegistrationConfig::default(),
        product: "Tollgate/0".into(),
        x_ms_sbc: "Tollgate/Tollgate/0".into(),
    }
}

fn customer(id: Uuid, account: &str) -> Customer {
    Customer {
        id,
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

fn gateway(customer: Uuid, fqdn: &str) -> Gateway {
    Gateway {
        id: Uuid::from_u128(customer.as_u128() + 1),
        customer,
        region: "EU".into(),
        fqdn: fqdn.into(),
        sip_port: 5061,
        media_bypass: false,
        state: GatewayState::Active,
    }
}

fn number(number: &str, customer: Uuid) -> PhoneNumber {
    PhoneNumber {
        number: number.parse().expect("E.164"),
        customer,
        in_service: true,
    }
}

fn phone(account: Account, extension: u128) -> Phone {
    Phone {
        device: Uuid::from_u128(extension),
        customer: ACME,
        user: None,
        extension: extension.to_string().into(),
        auth_user: account.user.into(),
        password: Secret::new(account.password),
        display_name: account.user.into(),
        number: None,
        active: true,
        bootstrap: None,
    }
}

/// A trunk whose peer is at 192.0.2.`last`.
fn trunk(name: &str, last: u8, customer: Option<Uuid>) -> Trunk {
    let address = Ipv4Addr::new(192, 0, 2, last);
    Trunk {
        id: Uuid::from_u128(u128::from(last)),
        customer,
        name: name.into(),
        role: Role::Pbx,
        transport: Transport::Udp,
        host: address.to_string(),
        port: Some(5060),
        auth: Auth::IpAcl,
        username: None,
        password: None,
        acl: vec![IpAddr::V4(address).into()],
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

/// The exchange where [`line`]s are users, at 192.0.2.10 unless a test says otherwise.
pub fn exchange() -> Pbx {
    Pbx {
        id: Uuid::from_u128(0xecc),
        name: "exchange".into(),
        kind: PbxKind::Generic,
        domain: "pbx.example".into(),
        registrar: "pbx.example".into(),
        hop: Hop {
            host: "pbx".into(),
            port: Some(5060),
            transport: Some(Transport::Udp),
            realm: Realm::Trunk,
        },
        expires_s: 3600,
        keep_alive: None,
        acl: Vec::new(),
        profile: PbxKind::Generic.profile(),
    }
}

/// User `10n` of `acme`'s exchange, who has these numbers at Teams.
pub fn line(n: u32, numbers: &[&str], pbx: &Arc<Pbx>) -> Registration {
    Registration {
        id: Uuid::from_u128(0x11_0000 + u128::from(n)),
        registrant: Registrant::User,
        customer: Some(ACME),
        numbers: numbers.iter().map(|n| n.parse().expect("E.164")).collect(),
        username: format!("10{n}").into(),
        auth_name: format!("auth-10{n}").into(),
        password: Secret::new("s3same"),
        token: format!("token{n}").into(),
        pbx: Arc::clone(pbx),
    }
}
