//! What is provisioned, who may change it, and what became of calls: one SQLite file.
//!
//! The call path never waits here. A [`Change`] writes rows, compiles them into a new [`Directory`] inside the same
//! transaction and swaps the directory when that succeeded, so that what an answer of the API promises is what calls
//! obey, and rows that contradict each other are never stored. Call detail records come through a [`Spool`] on disk.

pub mod accounts;
pub mod activations;
pub mod alarms;
pub mod audit;
pub mod cdrs;
mod change;
pub mod customers;
pub mod devices;
mod error;
pub mod events;
pub mod gateways;
mod housekeeping;
mod idempotency;
mod inspect;
pub mod invitations;
pub mod mails;
mod migrations;
pub mod music;
pub mod numbers;
mod open;
pub mod partner_invitations;
pub mod partners;
pub mod pbx_types;
pub mod pbxs;
pub mod people;
pub mod regions;
pub mod registrations;
mod rows;
pub mod seal;
pub mod services;
mod spool;
pub mod tasks;
mod tokens;
pub mod traces;
pub mod trunks;
pub mod upgrades;
pub mod users;

pub use accounts::Account;
pub use activations::ActivationRecord;
pub use audit::{AuditEvent, AuditFilter, AuditRecord};
pub use cdrs::CdrFilter;
pub use change::Change;
pub use customers::{
    CoManagementRecord, CustomerFilter, CustomerRecord, CustomerSettings, CustomerSort,
    CustomerStates,
};
pub use devices::binding::{Attempt, Binding};
pub use devices::codes::LiveCode;
pub use devices::files::{Fetch, Opening};
pub use devices::{DeviceFilter, DeviceRecord, DeviceSecrets, DeviceSettings, NewDevice, Welcome};
pub use error::{Fault, StoreError, Unwritable};
pub use events::EventRecord;
pub use gateways::{GatewayProgress, GatewayRecord, GatewaySettings};
pub use housekeeping::{Retention, housekeeping};
pub use idempotency::{Answer, Reservation};
pub use invitations::{InvitationRecord, Invitee};
pub use mails::{EmailSent, MailRecord};
pub use music::MusicRecord;
pub use numbers::{Added, Capabilities, NewNumber, NumberFilter, NumberRecord, NumberSettings};
pub use partner_invitations::PartnerInvitationRecord;
pub use partners::{PartnerRecord, PartnerSettings};
pub use pbx_types::{PbxTypeRecord, PbxTypeSettings};
pub use pbxs::{PbxRecord, PbxSettings};
pub use people::{Identity, Stranger};
pub use regions::{RegionRecord, RegionSettings};
pub use registrations::{RegistrationRecord, RegistrationSettings};
pub use rows::{Listed, Page};
pub use seal::{KeyError, Keys, Sealed};
pub use services::{ServiceRecord, ServiceSettings};
pub use spool::{Moved, Spool, SpoolError};
pub use tasks::{TaskKind, TaskRecord, TaskState};
pub use tokens::{AccessRole, NewToken, Token, Tokens};
pub use traces::StoredTrace;
pub use trunks::{NumberFormatName, Password, TransportName, TrunkRecord, TrunkSettings};
pub use upgrades::{UpgradeDraft, UpgradeRecord};
pub use users::{Seated, UserRecord, UserSettings};

use crate::directory::{self, Directory};
use arc_swap::ArcSwap;
use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqlitePool};
use std::sync::Arc;
use tokio::sync::Mutex;

/// The database, and the directory that was last compiled from it. Clones share both.
#[derive(Debug, Clone)]
pub struct Store {
    pool: SqlitePool,
    config: Arc<directory::Config>,
    /// What secrets are sealed with.
    keys: Keys,
    directory: Arc<ArcSwap<Directory>>,
    music: music::Pieces,
    /// Held while the access to a customer's tenant is renewed; several customers share one.
    renewals: Arc<[Mutex<()>; 32]>,
    /// Held through a change, so that directories are published in the order of their generations.
    writer: Arc<Mutex<()>>,
}

impl Store {
    /// The directory that calls obey; always the newest.
    pub fn directory(&self) -> Arc<ArcSwap<Directory>> {
        self.directory.clone()
    }

    /// A connection for reading.
    pub async fn read(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        Ok(self.pool.acquire().await?)
    }

    /// What secrets are sealed with.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The bearer tokens of the API.
    pub fn tokens(&self) -> Tokens<'_> {
        Tokens::new(self)
    }

    /// Waits until the file is closed.
    pub async fn closed(&self) {
        self.pool.close_event().await;
    }

    /// Waits until nothing is being written and closes the file.
    pub async fn close(&self) {
        let _writer = self.writer.lock().await;
        self.pool.close().await;
    }
}
