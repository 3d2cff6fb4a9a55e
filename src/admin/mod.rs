//! The REST API: what is provisioned, live calls, call detail records, health.
//!
//! A write that concerns calls takes effect at once: it is stored, compiled into the next
//! [`Directory`](crate::directory::Directory) and obeyed by calls before it is answered; `Tollgate-Generation` in the
//! answer says by which. Numbers and users wait for a [Sync](crate::sync). Errors are problems
//! (RFC 9457), bodies JSON, changes merge patches (RFC 7396) under `If-Match`; a POST may carry an `Idempotency-Key`.
//! Who may use which route stands in one table, in `auth`.

mod action_items;
mod activate;
mod activation;
mod alarms;
mod announcements;
mod answer;
mod audit;
mod auth;
mod body;
mod calls;
mod catalogues;
mod cdrs;
mod co_management;
mod consent;
mod customers;
mod devices;
mod diagnosis;
mod docs;
mod engine;
mod error;
mod events;
mod gateways;
mod health;
mod idempotency;
mod invitations;
mod invite;
mod ladder;
mod letters;
mod media;
mod music;
mod numbers;
mod oidc;
mod openapi;
mod page;
mod partners;
mod pbxs;
mod phones;
mod portable;
mod regions;
mod registrations;
mod request;
mod services;
mod session;
mod sight;
mod sync;
mod tables;
mod trunks;
mod upgrades;
mod users;
mod why;

pub use activation::Activations;
pub use devices::{Devices, PhoneRequest, Phones};
pub use engine::{CallRequest, Calls, LiveCall, LiveLeg, LiveState, Side};
pub use events::Listeners;
pub use ladder::Ladders;
pub use letters::Letters;
pub use oidc::People;
pub use openapi::openapi;
pub use phones::{PhoneFiles, phone_files};
pub use portable::{
    Difference, FieldDifference, ImportAction, ImportRefused, ImportReport, Importing, exported,
    imported,
};
pub use session::SignIns;

use crate::directory::Ledger;
use crate::doctor::Doctor;
use crate::onboarding::Onboarding;
use crate::store::{AccessRole, Spool, Store};
use crate::sync::Syncs;
use crate::telemetry::health::Health;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state, map_request};
use std::sync::Arc;
use std::time::Duration;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

/// The largest body of a request.
const BODY_LIMIT: usize = 1 << 20;
/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What the API stands on.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Rows, tokens, records; and the directory they make.
    pub store: Store,
    /// Makes calls obey what is stored of customers.
    pub syncs: Syncs,
    /// Channels in use.
    pub ledger: Ledger,
    /// Whoever knows the live calls.
    pub calls: Calls,
    /// What `/readyz` says.
    pub health: Health,
    /// Records of calls on their way into the store.
    pub spool: Arc<Spool>,
    /// Roles that see people's numbers and names in calls, records, traces and ladders shortened.
    pub redact_for: Vec<AccessRole>,
    /// The messages of calls.
    pub ladders: Ladders,
    /// Looks for what keeps calls away; none where there is no network.
    pub doctor: Option<Arc<Doctor>>,
    /// What activations stand on.
    pub activations: Activations,
    /// What desk telephones need.
    pub devices: Devices,
    /// What letters are sent with.
    pub letters: Letters,
    /// Carries sign-ins and upgrades on.
    pub onboarding: Onboarding,
    /// Wrong passwords of late.
    pub sign_ins: SignIns,
    /// Where people sign in without a password of ours.
    pub people: People,
    /// Those who listen for events.
    pub listeners: Listeners,
}

/// The whole API. It needs a listener, nothing else.
pub fn router(admin: Admin) -> Router {
    let (routes, _) = openapi::documented().split_for_parts();
    // From the inside out: a problem must be whole before it is kept for whoever asks again.
    let routes = routes
        .layer(CatchPanicLayer::new())
        .layer(from_fn(error::render))
        .layer(from_fn_with_state(admin.clone(), idempotency::replay))
        .layer(from_fn_with_state(admin.clone(), auth::authenticate))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            TIMEOUT,
        ))
        .layer(from_fn(error::render))
        .layer(from_fn(request::number))
        .with_state(admin);
    // Around all of them, for a layer of theirs would see a request when its route is already chosen.
    Router::new()
        .fallback_service(routes)
        .layer(map_request(request::as_path))
}
