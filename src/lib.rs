//! Tollgate joins Microsoft Teams Direct Routing (TLS SIP, SRTP) to hosted PBXes, carriers and desk phones.
//!
//! # The house
//!
//! A module imports lower floors only; two modules on one floor do not know each other. `tests/it/floors.rs`
//! reads these sources and fails when that is broken.
//!
//! | floor | room | what it is |
//! |---|---|---|
//! | 9 | `cli`, `emulate` | the command line; an independent little Teams, PBX, desk telephone and Microsoft 365 that share no SIP, SDP, SRTP, call or client code with the SBC |
//! | 8 | `app` | builds every part from `Config`, connects them, runs, drains and shuts down in order |
//! | 7 | `config` | the sum of the modules' own configurations, read from TOML and the environment |
//! | 6 | `admin` | the REST API; the files of desk telephones |
//! | 5 | `telemetry`, `doctor`, `sync`, `onboarding` | metrics, logs, ladders, what is up and what is down; what keeps calls away; Sync; sign-ins at Microsoft and upgrades of services |
//! | 4 | `net`, `store`, `microsoft`, `backend`, `mail` | sockets, TLS, DNS and relay threads; the database; sign-in and Graph as a client; the carrier's system of seats; letters by SMTP |
//! | – | **the line** | nothing below knows a socket, a clock, a thread, a file or a task |
//! | 3 | `b2bua` | calls: legs, set-up, hold, transfer, teardown, refusals, call detail records; registrations at exchanges; the registrar of desk telephones |
//! | 3 | `provisioning` | partners, customers, their activation, numbers, users, licences, desk telephones, Sync: rules and state machines |
//! | 2 | `directory`, `media` | the immutable snapshot that calls obey; anchoring, relay rules |
//! | 1 | `sip`, `sdp`, `rtp`, `audio` | the protocols; voice as samples, tones, the built-in music |
//! | 0 | `base` | small things that every floor may use |
//!
//! # How it runs
//!
//! The **control plane** is one task that owns a `b2bua::Calls`, which owns a `sip::Endpoint`. It takes no lock
//! and opens no socket: bytes, answers from DNS, media events and the time go in; what should happen comes out as
//! values. The **media plane** is a few threads, each of which owns UDP sockets and a `media::Relay`; both legs of a
//! call are on one. The planes exchange plain enums over bounded queues. The **management plane** writes to the store and
//! compiles a new `directory::Directory`, which is swapped whole; calls obey the directory and never wait for the
//! database.
#![doc(html_no_source)]

pub mod admin;
pub mod app;
pub mod audio;
pub mod b2bua;
pub mod backend;
pub mod base;
pub mod cli;
pub mod config;
pub mod directory;
pub mod doctor;
pub mod emulate;
pub mod mail;
pub mod media;
pub mod microsoft;
pub mod net;
pub mod onboarding;
pub mod provisioning;
pub mod rtp;
pub mod sdp;
pub mod sip;
pub mod store;
pub mod sync;
pub mod telemetry;
