//! The immutable snapshot that calls obey: who a peer is, whom a call belongs to, whether it may go on, and where to.
//!
//! A [`Directory`] is compiled whole from plain [`Rows`] and never changes; a newer one with a higher generation
//! takes its place. The order of the questions is that of an admission: [`Directory::origin`] knows the peer by the
//! address and certificate of a message, [`Directory::admit`] decides about an INVITE. Both answer with facts; which
//! SIP status a refused peer hears is said elsewhere. What a limit still allows lives in [`Ledger`], which outlasts
//! every snapshot.

mod acl;
mod admit;
mod channels;
mod compile;
mod customer;
mod desk;
mod gateway;
mod number;
mod pbx_kind;
mod phone;
mod profile;
mod region;
mod registration;
mod trunk;

pub use acl::Origin;
pub use admit::{Admission, Attempt, Denial, Denied, Route};
pub use channels::{ChannelPermit, Ledger, Usage};
pub use compile::{CompileError, Config, Holding, Rows};
pub use customer::{ActivationState, AdminState, Customer};
pub use gateway::{Gateway, GatewayState};
pub use number::{Dialled, Forwarded, Number, NumberError, NumberFormat, PhoneNumber};
pub use pbx_kind::PbxKind;
pub use phone::{ACTIVATE, Mac, Phone, bootstrap_mac, bootstrap_user};
pub use profile::{
    Announcements, AssertedIdentity, CallHistory, Callers, Dtmf, Hold, MohMethod, Profile,
    ReliableProvisionals, Srtp, SrtpSuite, UdpToTcp,
};
pub use region::Region;
pub(crate) use registration::bracketed;
pub use registration::{Pbx, Registrant, Registration};
pub use trunk::{Auth, Role, Secret, Trunk, TrunkState};

use crate::audio::{Announcement, Clip};
use acl::AccessList;
use ipnet::IpNet;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// Everything a call needs to know of customers, gateways, numbers and trunks at one moment.
///
/// Clones share what they have in common, so that the next generation costs what differs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Directory {
    /// Grows with every change; a call keeps the one it was admitted by.
    pub generation: u64,
    /// Differs when Teams would have to know other names, ports or states of ours than before: its connections keep
    /// what it knew when they were opened (TDR-145).
    pub teams_names: u64,
    teams_ranges: Vec<IpNet>,
    emergency_numbers: Vec<String>,
    regions: Arc<HashMap<String, Arc<Region>>>,
    customers: imbl::HashMap<Uuid, Arc<Customer>>,
    gateways: imbl::HashMap<String, Arc<Gateway>>,
    gateways_by_customer: imbl::HashMap<Uuid, HeldGateways>,
    numbers: imbl::HashMap<Number, PhoneNumber>,
    numbers_by_customer: imbl::HashMap<Uuid, Arc<[Number]>>,
    extensions: imbl::HashMap<Uuid, Arc<HashMap<Number, PhoneNumber>>>,
    /// By customers that have some: further numbers of users, and the first ones.
    forwarded: imbl::HashMap<Uuid, Arc<HashMap<Number, Number>>>,
    /// Ordered, as registrations are.
    trunks: imbl::OrdMap<Uuid, Arc<Trunk>>,
    /// All but disabled ones.
    trunks_by_customer: imbl::HashMap<Option<Uuid>, Arc<[Arc<Trunk>]>>,
    access: AccessList,
    /// Ordered, so that what two generations have in common is passed over where they are compared.
    registrations: imbl::OrdMap<Uuid, Arc<Registration>>,
    registrations_by_token: imbl::HashMap<Box<str>, Arc<Registration>>,
    /// By a customer and one of its numbers.
    registrations_by_number: imbl::HashMap<(Uuid, Number), Arc<Registration>>,
    registrations_by_customer: imbl::HashMap<Uuid, Arc<[Arc<Registration>]>>,
    phones: imbl::HashMap<Box<str>, Arc<Phone>>,
    phones_by_customer: imbl::HashMap<Uuid, phone::HeldPhones>,
    /// Active ones only.
    phones_by_mac: imbl::HashMap<Mac, Arc<Phone>>,
    announcements: HashMap<Announcement, Arc<Clip>>,
}

/// A customer's gateways.
#[derive(Debug, Clone, PartialEq)]
struct HeldGateways {
    /// Those that calls try, in this order.
    in_order: Arc<[Arc<Gateway>]>,
    /// All.
    names: Arc<[String]>,
}

impl Directory {
    /// The customer of this id.
    pub fn customer(&self, id: Uuid) -> Option<&Arc<Customer>> {
        self.customers.get(&id)
    }

    /// All customers, in no order.
    pub fn customers(&self) -> impl Iterator<Item = &Arc<Customer>> {
        self.customers.values()
    }

    /// The gateway of this name, in whatever case it is written.
    pub fn gateway(&self, fqdn: &str) -> Option<&Arc<Gateway>> {
        self.gateways.get(&fqdn.to_ascii_lowercase())
    }

    /// All gateways, in no order.
    pub fn gateways(&self) -> impl Iterator<Item = &Arc<Gateway>> {
        self.gateways.values()
    }

    /// The region of this code.
    pub fn region(&self, code: &str) -> Option<&Arc<Region>> {
        self.regions.get(code)
    }

    /// All regions, in no order. Each has a carrier trunk at Teams, whose OPTIONS speak for every gateway (TDR-1207).
    pub fn regions(&self) -> impl Iterator<Item = &Arc<Region>> {
        self.regions.values()
    }

    /// The trunk of this id.
    pub fn trunk(&self, id: Uuid) -> Option<&Arc<Trunk>> {
        self.trunks.get(&id)
    }

    /// All trunks but disabled ones, in no order.
    pub fn trunks(&self) -> impl Iterator<Item = &Arc<Trunk>> {
        self.trunks.values()
    }

    /// The same by their ids.
    pub fn trunks_by_id(&self) -> &imbl::OrdMap<Uuid, Arc<Trunk>> {
        &self.trunks
    }

    /// Those of a customer, or those that all customers share.
    pub fn trunks_of(&self, customer: Option<Uuid>) -> &[Arc<Trunk>] {
        let held = self.trunks_by_customer.get(&customer);
        held.map(|held| &**held).unwrap_or_default()
    }

    /// Everybody in whose name we register somewhere: users of exchanges, and trunks; of customers that may call only.
    pub fn registrations(&self) -> &imbl::OrdMap<Uuid, Arc<Registration>> {
        &self.registrations
    }

    /// Whose Contact has this user part.
    pub fn registration_of_token(&self, token: &str) -> Option<&Arc<Registration>> {
        self.registrations_by_token.get(token)
    }

    /// By which user of its exchange a customer's number calls, if by any.
    pub fn registration_of_number(
        &self,
        customer: Uuid,
        number: &Number,
    ) -> Option<&Arc<Registration>> {
        self.registrations_by_number.get(&(customer, *number))
    }

    /// All numbers, in no order.
    pub fn numbers(&self) -> impl Iterator<Item = &PhoneNumber> {
        self.numbers.values()
    }

    /// How an announcement sounds.
    pub fn announcement(&self, which: Announcement) -> Arc<Clip> {
        let brought = self.announcements.get(&which).cloned();
        brought.unwrap_or_else(|| which.built_in())
    }

    /// Emergency numbers everywhere, as dialled.
    pub fn emergency_numbers(&self) -> &[String] {
        &self.emergency_numbers
    }

    /// A number for one customer: its own identifiers come before numbers of everybody's.
    pub fn number_for(&self, customer: Uuid, number: &Number) -> Option<&PhoneNumber> {
        let own = self.extensions.get(&customer);
        own.and_then(|own| own.get(number))
            .or_else(|| self.number(number))
    }

    /// The first number of the user whose further number this is: there it rings, as long as both are in service.
    pub(crate) fn forwarded(&self, customer: &Customer, number: &Number) -> Option<Number> {
        let to = *self.forwarded.get(&customer.id)?.get(number)?;
        self.may_present(customer, Some(&to)).then_some(to)
    }

    /// Who owns a number, in service or not.
    pub fn number(&self, number: &Number) -> Option<&PhoneNumber> {
        self.numbers.get(number)
    }
}

#[cfg(test)]
pub(crate) mod examples;
