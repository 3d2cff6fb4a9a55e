//! The table of bindings: who can be reached where, and until when.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::contact::{Contact, Instance, is_same};
use crate::directory::{Mac, Phone};
use crate::sip::{Flow, Hop, NextHop, Realm, Source, Target, Transport};

/// Who registers.
#[derive(Debug, Clone)]
pub(in super::super) enum Who {
    /// A telephone, as the directory had it then.
    Phone(Arc<Phone>),
    /// One that nobody has activated yet.
    Bootstrap(Mac),
}

/// How a telephone is reached: by the flow on which its REGISTER came, whatever its Contact says (RFC 5626 §5.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Reach {
    /// The Request-URI.
    pub contact: Arc<str>,
    pub flow: Flow,
    pub remote: SocketAddr,
    pub transport: Transport,
}

impl Reach {
    pub fn new(contact: &str, source: &Source) -> Self {
        Self {
            contact: contact.into(),
            flow: source.flow,
            remote: source.remote,
            transport: source.transport,
        }
    }

    /// The same telephone sends from elsewhere now.
    pub fn follow(&mut self, source: &Source) {
        (self.flow, self.remote) = (source.flow, source.remote);
        self.transport = source.transport;
    }

    pub fn next_hop(&self) -> NextHop {
        let target = Target {
            transport: self.transport,
            address: self.remote,
            name: self.remote.ip().to_string(),
            realm: Realm::Trunk,
        };
        NextHop::Flow(self.flow, target)
    }

    /// For records, which tell hosts.
    pub fn hop(&self) -> Hop {
        Hop {
            host: self.remote.ip().to_string(),
            port: Some(self.remote.port()),
            transport: Some(self.transport),
            realm: Realm::Trunk,
        }
    }
}

/// One contact of somebody.
#[derive(Debug, Clone)]
pub(in super::super) struct Binding {
    pub reach: Reach,
    pub expires: Instant,
    /// Preference in thousandths.
    pub q: u16,
    /// Of the REGISTER that bound it last.
    pub call_id: Box<str>,
    pub cseq: u32,
    pub instance: Option<Instance>,
    /// Grows with each REGISTER.
    pub order: u64,
}

impl Binding {
    /// Whether a REGISTER with this contact means this binding: that of the same device and flow, or of the same URI (RFC
    /// 5626 §6).
    fn is_of(&self, contact: &Contact) -> bool {
        match (&self.instance, &contact.instance) {
            (Some(own), Some(other)) => own == other,
            _ => is_same(&self.reach.contact, &contact.uri),
        }
    }

    /// Whether a REGISTER of this Call-ID and number comes after the one that bound it (RFC 3261 §10.3 step 7).
    pub fn is_older_than(&self, call_id: &str, cseq: u32) -> bool {
        *self.call_id != *call_id || self.cseq < cseq
    }
}

/// Somebody with contacts.
#[derive(Debug)]
pub(in super::super) struct Registered {
    pub who: Who,
    pub user_agent: Box<str>,
    /// At least one.
    pub bindings: Vec<Binding>,
}

impl Registered {
    /// The binding that a REGISTER with this contact means.
    pub fn position(bindings: &[Binding], contact: &Contact) -> Option<usize> {
        bindings.iter().position(|binding| binding.is_of(contact))
    }

    /// In the order in which a call tries them: by preference (RFC 3261 §16.6), then who was heard of last.
    pub fn in_order(&self) -> Vec<&Binding> {
        let mut all: Vec<_> = self.bindings.iter().collect();
        all.sort_by_key(|b| std::cmp::Reverse((b.q, b.order)));
        all
    }

    fn expires(&self) -> Option<Instant> {
        self.bindings.iter().map(|binding| binding.expires).min()
    }
}

/// By what a peer's packets are known: on a stream the connection, on datagrams the address that they come from.
type Origin = (Transport, Flow, SocketAddr);

fn origin(reach: &Reach) -> Origin {
    (reach.transport, reach.flow, reach.remote)
}

/// Everybody who is registered, by name in lower case.
#[derive(Debug, Default)]
pub(in super::super) struct Bindings {
    users: HashMap<Arc<str>, Registered>,
    /// The next binding of everybody that expires.
    expiries: BTreeSet<(Instant, Arc<str>)>,
    /// From where telephones speak, and how many names have each.
    origins: HashMap<Origin, u32>,
    bootstraps: usize,
}

impl Bindings {
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Those who nobody has activated.
    pub fn bootstraps(&self) -> usize {
        self.bootstraps
    }

    pub fn get(&self, user: &str) -> Option<&Registered> {
        self.users.get(user)
    }

    pub fn all(&self) -> impl Iterator<Item = (&str, &Registered)> {
        self.users.iter().map(|(user, of)| (&**user, of))
    }

    /// Whether somebody has registered from there.
    pub fn has_origin(&self, source: &Source) -> bool {
        let origin = (source.transport, source.flow, source.remote);
        self.origins.contains_key(&origin)
    }

    /// When the next binding expires.
    pub fn deadline(&self) -> Option<Instant> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// Replaces what somebody has; nothing at all is bound to somebody without bindings.
    pub fn put(&mut self, user: &str, registered: Registered) {
        let name = self.take(user).unwrap_or_else(|| user.into());
        let Some(expires) = registered.expires() else {
            return;
        };
        self.expiries.insert((expires, name.clone()));
        for binding in &registered.bindings {
            *self.origins.entry(origin(&binding.reach)).or_default() += 1;
        }
        self.bootstraps += usize::from(matches!(registered.who, Who::Bootstrap(_)));
        self.users.insert(name, registered);
    }

    /// Forgets somebody, and all by which they could be found.
    pub fn remove(&mut self, user: &str) {
        self.take(user);
    }

    fn take(&mut self, user: &str) -> Option<Arc<str>> {
        let (name, gone) = self.users.remove_entry(user)?;
        if let Some(expires) = gone.expires() {
            self.expiries.remove(&(expires, name.clone()));
        }
        for binding in &gone.bindings {
            let key = origin(&binding.reach);
            if let Some(count) = self.origins.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.origins.remove(&key);
                }
            }
        }
        self.bootstraps -= usize::from(matches!(gone.who, Who::Bootstrap(_)));
        Some(name)
    }

    /// Forgets what has expired; the names that are left with nothing.
    pub fn expire(&mut self, now: Instant) -> Vec<(Arc<str>, Who)> {
        let mut gone = Vec::new();
        while let Some((at, name)) = self.expiries.first() {
            if *at > now {
                break;
            }
            let name = name.clone();
            let Some(of) = self.users.get(&name) else {
                self.expiries.pop_first();
                continue;
            };
            let left: Vec<_> = of.bindings.iter().filter(|b| b.expires > now).collect();
            let left = Registered {
                bindings: left.into_iter().cloned().collect(),
                who: of.who.clone(),
                user_agent: of.user_agent.clone(),
            };
            if left.bindings.is_empty() {
                gone.push((name.clone(), left.who.clone()));
            }
            self.put(&name, left);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::size_of;
    use std::time::Duration;

    fn phone(n: u32) -> Who {
        Who::Bootstrap([
            0,
            0,
            (n >> 24) as u8,
            (n >> 16) as u8,
            (n >> 8) as u8,
            n as u8,
        ])
    }

    fn binding(n: u32, expires: Instant) -> Binding {
        let remote = SocketAddr::from(([10, (n >> 16) as u8, (n >> 8) as u8, n as u8], 5060));
        let contact = format!("sip:0123456789abcdef@{remote};transport=tls;ob");
        Binding {
            reach: Reach {
                contact: contact.into(),
                flow: Flow(u64::from(n)),
                remote,
                transport: Transport::Tls,
            },
            expires,
            q: 1000,
            call_id: "0_2134567890@192.168.100.100".into(),
            cseq: 1,
            instance: Some(Instance {
                id: "<urn:uuid:00000000-0000-1000-8000-001565aabbcc>".into(),
                reg_id: 1,
            }),
            order: u64::from(n),
        }
    }

    fn registered(n: u32, expires: Instant) -> Registered {
        Registered {
            who: phone(n),
            user_agent: "Yealink SIP-T46S 66.86.0.15 001565aabbcc".into(),
            bindings: vec![binding(n, expires)],
        }
    }

    /// 50,000 telephones with the headers of a usual one: what each costs, by the sizes of all that is kept of it, is less
    /// than a kilobyte; and all expire in order by the one deadline.
    #[test]
    fn fifty_thousand_phones() {
        const MANY: u32 = 50_000;
        let (start, mut table) = (Instant::now(), Bindings::default());
        for n in 0..MANY {
            let at = start + Duration::from_millis(u64::from(n.wrapping_mul(7919) % MANY));
            table.put(&format!("act-{n:012x}"), registered(n, at));
        }
        assert_eq!((table.len(), table.bootstraps()), (50_000, 50_000));
        let per_entry = |capacity: usize, size: usize| capacity * (size + 1);
        let tables = per_entry(table.users.capacity(), size_of::<(Arc<str>, Registered)>())
            + per_entry(table.origins.capacity(), size_of::<(Origin, u32)>())
            + table.expiries.len() * 2 * size_of::<(Instant, Arc<str>)>();
        let texts: usize = table
            .all()
            .map(|(name, of)| {
                let counts = 2 * size_of::<usize>();
                let bindings = of.bindings.iter().map(|b| {
                    let instance = b.instance.as_ref().map_or(0, |i| i.id.len());
                    size_of::<Binding>()
                        + counts
                        + b.reach.contact.len()
                        + b.call_id.len()
                        + instance
                });
                counts + name.len() + of.user_agent.len() + bindings.sum::<usize>()
            })
            .sum();
        let each = (tables + texts) / MANY as usize;
        println!("{each} bytes a telephone");
        assert!(each < 1024, "{each} bytes a telephone");

        let half = start + Duration::from_millis(u64::from(MANY / 2) - 1);
        assert_eq!(table.expire(half).len(), 25_000);
        assert_eq!(table.deadline(), Some(half + Duration::from_millis(1)));
        table.expire(start + Duration::from_secs(3600));
        assert_eq!((table.len(), table.bootstraps()), (0, 0));
        assert!(table.origins.is_empty() && table.deadline().is_none());
    }

    /// Two contacts of one name expire one by one; the preferred one is tried first, then the one heard of last.
    #[test]
    fn contacts_of_one_phone() {
        let now = Instant::now();
        let at = |n: u32, q: u16, seconds| Binding {
            q,
            ..binding(n, now + Duration::from_secs(seconds))
        };
        let mut table = Bindings::default();
        let bindings = vec![at(1, 500, 30), at(2, 1000, 60), at(3, 1000, 90)];
        table.put(
            "desk",
            Registered {
                bindings,
                ..registered(1, now)
            },
        );
        let order = |table: &Bindings| -> Vec<u64> {
            let of = table.get("desk").unwrap();
            of.in_order().iter().map(|b| b.order).collect()
        };
        assert_eq!(order(&table), [3, 2, 1]);
        assert!(table.expire(now + Duration::from_secs(60)).is_empty());
        assert_eq!(order(&table), [3]);
        let gone = table.expire(now + Duration::from_secs(90));
        assert_eq!(gone.len(), 1);
        assert!(table.get("desk").is_none() && table.origins.is_empty());
    }
}
