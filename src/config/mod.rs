//! The configuration file: its shape, its rules, and what becomes of it.
//!
//! `config/tollgate.toml` is compiled in and *is* the set of defaults: a key, its default and its meaning stand in
//! one place. [`load`] lays the user's file and the environment over it and reports every error at once.

mod address;
mod error;
mod file;
mod load;
mod parts;
mod ranges;
mod rules;

pub use address::HostPort;
pub use error::{ConfigError, Problem};
pub use file::{
    Admin, Calls, ClientCertificates, Config, Dns, Mail, Media, Metrics, Microsoft, PhoneFiles,
    Publish, Seats, SignIn, Sip, Store, Teams, Tls,
};
pub use load::{DEFAULTS, load};
