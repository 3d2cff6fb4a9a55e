use super::{CompileError, Directory, Number, Secret};
use std::sync::Arc;
use uuid::Uuid;

/// The six bytes by which a telephone is known before anything else is known of it.
pub type Mac = [u8; 6];

/// Whom a telephone calls that nobody has activated.
pub const ACTIVATE: &str = "activate";
/// What the names of such telephones begin with.
const BOOTSTRAP: &str = "act-";

/// The name under which a telephone registers that nobody has activated: `act-001565aabbcc`.
pub fn bootstrap_user(mac: &Mac) -> String {
    let digits: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{BOOTSTRAP}{digits}")
}

/// The MAC address in such a name.
pub fn bootstrap_mac(user: &str) -> Option<Mac> {
    let digits = user.strip_prefix(BOOTSTRAP)?;
    let is_mac = digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let whole = is_mac.then(|| u64::from_str_radix(digits, 16).ok())??;
    let [_, _, mac @ ..] = whole.to_be_bytes();
    Some(mac)
}

/// A desk telephone as calls see it: whom it registers as, and who it is to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phone {
    /// Never used again.
    pub device: Uuid,
    /// Whose.
    pub customer: Uuid,
    /// Who has it on the desk.
    pub user: Option<Uuid>,
    /// By which it is called within the customer.
    pub extension: Box<str>,
    /// Its SIP user name, for digest and as address of record: in lower case, unique over all customers.
    pub auth_user: Box<str>,
    /// For digest, in both directions.
    pub password: Secret,
    /// What those hear of it whom it calls.
    pub display_name: Box<str>,
    /// Who it is outside, with emergency calls too; calls to this number ring here.
    pub number: Option<Number>,
    /// Whether it may register and be called: of the telephones of one extension at most one is.
    pub active: bool,
    /// As what it may have registered while nobody had activated it. Unique among those that are active.
    pub bootstrap: Option<Mac>,
}

/// A customer's telephones.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HeldPhones {
    /// All, by extension.
    all: Arc<[Arc<Phone>]>,
    /// Those that have a number, by number; the ones that are active come first.
    by_number: Arc<[Arc<Phone>]>,
}

impl HeldPhones {
    fn new(mut all: Vec<Arc<Phone>>) -> Self {
        all.sort_unstable_by(|one, other| place(one).cmp(&place(other)));
        let mut by_number: Vec<_> = all
            .iter()
            .filter(|phone| phone.number.is_some())
            .cloned()
            .collect();
        by_number.sort_by_key(|phone| (phone.number, !phone.active));
        Self {
            all: all.into(),
            by_number: by_number.into(),
        }
    }

    fn at(&self, extension: &str) -> Option<&Arc<Phone>> {
        let first = self.all.partition_point(|p| *p.extension < *extension);
        let same = self.all[first..].iter();
        same.take_while(|phone| *phone.extension == *extension)
            .find(|phone| phone.active)
    }

    fn of_number(&self, number: &Number) -> Option<&Arc<Phone>> {
        let first = self.by_number.partition_point(|p| p.number < Some(*number));
        let phone = self.by_number.get(first)?;
        (phone.number == Some(*number)).then_some(phone)
    }
}

fn place(phone: &Phone) -> (&str, &str) {
    (&phone.extension, &phone.auth_user)
}

impl Directory {
    /// The telephone that registers by this name, in whatever case it is written; active or not.
    pub fn phone(&self, auth_user: &str) -> Option<&Arc<Phone>> {
        match auth_user.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => self.phones.get(auth_user.to_ascii_lowercase().as_str()),
            false => self.phones.get(auth_user),
        }
    }

    /// All telephones of a customer, by extension.
    pub fn phones_of(&self, customer: Uuid) -> impl Iterator<Item = &Arc<Phone>> {
        let held = self.phones_by_customer.get(&customer);
        held.into_iter().flat_map(|held| held.all.iter())
    }

    /// The one telephone that is active at this extension.
    pub fn phone_at(&self, customer: Uuid, extension: &str) -> Option<&Arc<Phone>> {
        self.phones_by_customer.get(&customer)?.at(extension)
    }

    /// Whom a call to this number of the customer rings: an active telephone if there is one. Of several that show one
    /// number it is that of the lowest extension.
    pub fn phone_of_number(&self, customer: Uuid, number: &Number) -> Option<&Arc<Phone>> {
        self.phones_by_customer.get(&customer)?.of_number(number)
    }

    /// The active telephone that has this MAC address.
    pub fn phone_with(&self, mac: &Mac) -> Option<&Arc<Phone>> {
        self.phones_by_mac.get(mac)
    }

    /// All telephones, in no order.
    pub fn phones(&self) -> impl Iterator<Item = &Arc<Phone>> {
        self.phones.values()
    }

    pub(super) fn put_phones(
        &mut self,
        customer: Uuid,
        mut rows: Vec<Phone>,
        errors: &mut Vec<CompileError>,
    ) {
        rows.sort_unstable_by(|one, other| place(one).cmp(&place(other)));
        let mut held: Vec<Arc<Phone>> = Vec::with_capacity(rows.len());
        for mut row in rows {
            row.auth_user = row.auth_user.to_ascii_lowercase().into();
            if let Some(name) = self.taken_by_another_phone(&row, &held) {
                let what = "phone";
                errors.push(CompileError::Twice { what, name });
                continue;
            }
            let phone = Arc::new(row);
            if let Some(mac) = phone.bootstrap.filter(|_| phone.active) {
                self.phones_by_mac.insert(mac, phone.clone());
            }
            self.phones.insert(phone.auth_user.clone(), phone.clone());
            held.push(phone);
        }
        if !held.is_empty() {
            let held = HeldPhones::new(held);
            self.phones_by_customer.insert(customer, held);
        }
    }

    /// What a telephone has that another has already; `held` are those of its customer, by extension.
    fn taken_by_another_phone(&self, phone: &Phone, held: &[Arc<Phone>]) -> Option<String> {
        let has_mac = |mac| self.phones_by_mac.contains_key(mac);
        if self.phones.contains_key(&phone.auth_user)
            || phone.active && phone.bootstrap.as_ref().is_some_and(has_mac)
        {
            return Some(phone.auth_user.to_string());
        }
        let at_extension = held.iter().rev();
        let second = at_extension
            .take_while(|other| other.extension == phone.extension)
            .any(|other| other.active);
        (phone.active && second).then(|| phone.extension.to_string())
    }

    pub(super) fn take_phones(&mut self, customer: Uuid) {
        let Some(held) = self.phones_by_customer.remove(&customer) else {
            return;
        };
        for phone in held.all.iter() {
            self.phones.remove(&phone.auth_user);
            if let Some(mac) = phone.bootstrap.filter(|_| phone.active) {
                self.phones_by_mac.remove(&mac);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Rows;
    use super::super::examples::{customer, phone};
    use super::*;

    fn directory(phones: Vec<Phone>) -> Result<Directory, Vec<CompileError>> {
        Directory::compile(Rows {
            regions: vec![super::super::examples::region("EU")],
            customers: vec![customer("acme"), customer("other")],
            phones,
            ..Rows::default()
        })
    }

    fn numbered(name: &str, extension: &str, active: bool) -> Phone {
        Phone {
            number: Some("+14255550100".parse().unwrap()),
            active,
            ..phone(name, extension, &customer("acme"))
        }
    }

    #[test]
    fn a_name_that_holds_a_mac_address() {
        let mac = [0x00, 0x15, 0x65, 0xaa, 0xbb, 0xcc];
        assert_eq!(bootstrap_user(&mac), "act-001565aabbcc");
        assert_eq!(bootstrap_mac("act-001565aabbcc"), Some(mac));
        for name in [
            "act-",
            "act-001565aabbc",
            "act-+01565aabbcc",
            "001565aabbcc",
        ] {
            assert_eq!(bootstrap_mac(name), None, "{name}");
        }
    }

    /// By name in any case, by extension within one customer, by MAC address, by number: the active one before another.
    #[test]
    fn a_phone_is_found() {
        let (acme, other) = (customer("acme"), customer("other"));
        let old = Phone {
            bootstrap: Some([0, 21, 101, 1, 2, 3]),
            ..numbered("Old", "1001", false)
        };
        let new = Phone {
            bootstrap: Some([0, 21, 101, 1, 2, 3]),
            ..numbered("New", "1001", true)
        };
        let rows = vec![old, new, phone("theirs", "1001", &other)];
        let directory = directory(rows).unwrap();
        let name = |phone: Option<&Arc<Phone>>| phone.map(|p| p.auth_user.to_string());
        let (old, new) = (Some("old".to_owned()), Some("new".to_owned()));
        assert_eq!(name(directory.phone("oLd")), old, "inactive ones, too");
        assert_eq!(name(directory.phone_at(acme.id, "1001")), new);
        let theirs = name(directory.phone_at(other.id, "1001"));
        assert_eq!(theirs.as_deref(), Some("theirs"));
        assert_eq!(name(directory.phone_at(acme.id, "100")), None);
        let number = "+14255550100".parse().unwrap();
        assert_eq!(name(directory.phone_of_number(acme.id, &number)), new);
        assert_eq!(name(directory.phone_of_number(other.id, &number)), None);
        let mac = [0, 21, 101, 1, 2, 3];
        assert_eq!(name(directory.phone_with(&mac)), new);
        let all: Vec<_> = directory.phones_of(acme.id).collect();
        assert_eq!(all.len(), 2);
    }

    /// A name is one telephone's whoever has it, an extension and a MAC address one active telephone's.
    #[test]
    fn what_only_one_phone_may_have() {
        let (acme, other) = (customer("acme"), customer("other"));
        let twice = |name: &str| CompileError::Twice {
            what: "phone",
            name: name.into(),
        };
        let same_name = vec![phone("a", "1001", &acme), phone("A", "1001", &other)];
        assert_eq!(directory(same_name).unwrap_err(), [twice("a")]);
        let extension = vec![numbered("a", "1001", true), numbered("b", "1001", true)];
        assert_eq!(directory(extension).unwrap_err(), [twice("1001")]);
        let mac = |name, extension, active| Phone {
            bootstrap: Some([2; 6]),
            ..numbered(name, extension, active)
        };
        let macs = vec![mac("a", "1001", true), mac("b", "1002", true)];
        assert_eq!(directory(macs).unwrap_err(), [twice("b")]);
        let one_is_gone = vec![mac("a", "1001", false), mac("b", "1002", true)];
        assert!(directory(one_is_gone).is_ok());
    }
}
