use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// A tenant: the organisation of one customer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tenant {
    /// For ever.
    pub id: Uuid,
    /// Its first domain: `contoso.onmicrosoft.com`.
    pub name: String,
    /// The other ones, verified or not.
    #[serde(default)]
    pub domains: BTreeMap<String, Domain>,
    /// Licences.
    #[serde(default)]
    pub skus: Vec<Sku>,
    /// Users.
    #[serde(default)]
    pub users: Vec<User>,
    /// Delegated permissions that our application has: `AllPrincipals` or `Principal`.
    #[serde(default)]
    pub grants: Vec<String>,
    /// Whether it has application permissions.
    #[serde(default)]
    pub application: bool,
    /// Voice routes as they were given.
    #[serde(default)]
    pub voice_routes: Vec<Value>,
    /// Numbers: whose.
    #[serde(default)]
    pub numbers: BTreeMap<String, Uuid>,
    /// Policies as they were given.
    #[serde(default)]
    pub policies: Vec<Value>,
}

/// A domain of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// What must stand in DNS.
    pub text: String,
    /// Whether it stood there.
    pub verified: bool,
}

/// A licence that was bought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sku {
    /// Which.
    pub id: Uuid,
    /// Its name.
    pub part_number: String,
    /// How many were bought.
    pub units: u32,
    /// Whether Teams is in it.
    pub teams: bool,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// For ever.
    pub id: Uuid,
    /// The name to sign in.
    pub upn: String,
    /// Where they are; licences need it.
    pub usage_location: Option<String>,
    /// What they have.
    pub licenses: Vec<Uuid>,
}

/// Everything there is.
#[derive(Debug, Default)]
pub struct World {
    /// Whoever is a customer of Microsoft's.
    pub tenants: Vec<Tenant>,
    /// Claims that ID tokens have instead of their own.
    pub claims: serde_json::Map<String, Value>,
    /// Whether ID tokens are signed by another key than they say.
    pub forges: bool,
    /// Whether the second key has taken the place of the first.
    pub second_key: bool,
    pub(super) codes: HashMap<String, Code>,
    pub(super) tokens: HashMap<String, Token>,
    pub(super) refreshes: HashMap<String, Uuid>,
    pub(super) devices: HashMap<String, Device>,
}

/// A code that is to be redeemed.
#[derive(Debug, Clone)]
pub(super) struct Code {
    pub redirect_uri: String,
    pub challenge: String,
    pub person: Person,
}

/// Somebody who signed in.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub tenant: Uuid,
    /// A user of the tenant; none: whoever administers it.
    pub user: Option<User>,
    pub administrator: bool,
    /// What the token has to say.
    pub nonce: Option<String>,
}

impl Person {
    pub fn administrator(tenant: Uuid) -> Self {
        Self {
            tenant,
            user: None,
            administrator: true,
            nonce: None,
        }
    }
}

/// What a token allows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub tenant: Uuid,
    /// Somebody signed in for it.
    pub delegated: bool,
}

/// A sign-in at another device.
#[derive(Debug, Clone)]
pub(super) struct Device {
    pub user_code: String,
    /// Whose it became; a refusal is none of these.
    pub outcome: Option<Option<Uuid>>,
}

/// Codes and tokens that are alive at once.
const MOST: usize = 10_000;

impl Tenant {
    /// With licences for two users and nothing else.
    pub fn new(id: Uuid, name: &str) -> Self {
        Self {
            id,
            name: name.to_owned(),
            domains: BTreeMap::new(),
            skus: vec![Sku {
                id: Uuid::from_u128(0xe5),
                part_number: "SPE_E5".to_owned(),
                units: 2,
                teams: true,
            }],
            users: Vec::new(),
            grants: Vec::new(),
            application: false,
            voice_routes: Vec::new(),
            numbers: BTreeMap::new(),
            policies: Vec::new(),
        }
    }

    /// Whether a name is this tenant's.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.id.to_string() == name
            || self.name.eq_ignore_ascii_case(name)
            || self
                .domains
                .get(&name.to_ascii_lowercase())
                .is_some_and(|domain| domain.verified)
    }

    pub(super) fn free(&self, sku: &Sku) -> u32 {
        let used = self
            .users
            .iter()
            .filter(|user| user.licenses.contains(&sku.id))
            .count();
        sku.units
            .saturating_sub(u32::try_from(used).unwrap_or(u32::MAX))
    }
}

impl World {
    pub(super) fn new(tenants: Vec<Tenant>) -> Self {
        Self {
            tenants,
            ..Self::default()
        }
    }

    /// The tenant of this id, name or verified domain.
    pub fn tenant(&mut self, name: &str) -> Option<&mut Tenant> {
        self.tenants
            .iter_mut()
            .find(|tenant| tenant.is_called(name))
    }

    pub(super) fn token(&mut self, tenant: Uuid, delegated: bool) -> String {
        bounded(&mut self.tokens);
        let text = random("at");
        self.tokens
            .insert(text.clone(), Token { tenant, delegated });
        text
    }

    pub(super) fn refresh(&mut self, tenant: Uuid) -> String {
        bounded(&mut self.refreshes);
        let text = random("rt");
        self.refreshes.insert(text.clone(), tenant);
        text
    }

    pub(super) fn code(&mut self, code: Code) -> String {
        bounded(&mut self.codes);
        let text = random("code");
        self.codes.insert(text.clone(), code);
        text
    }

    pub(super) fn device(&mut self) -> (String, String) {
        bounded(&mut self.devices);
        let (text, user_code) = (
            random("dc"),
            format!("{:09}", rand::random_range(0..1_000_000_000_u32)),
        );
        let device = Device {
            user_code: user_code.clone(),
            outcome: None,
        };
        self.devices.insert(text.clone(), device);
        (text, user_code)
    }
}

/// Whoever asks for too many loses the old ones.
fn bounded<T>(table: &mut HashMap<String, T>) {
    if table.len() >= MOST {
        table.clear();
    }
}

fn random(kind: &str) -> String {
    format!("{kind}-{:032x}", rand::random::<u128>())
}
