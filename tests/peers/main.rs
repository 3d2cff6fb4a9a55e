//! Tollgate as it is built, between programs of other people: sipp and Kamailio for signalling and load, baresip for
//! what is heard, tshark for what is on the wire. Everything runs on loopback, at addresses of its own, and is ended
//! by process id, also when a test fails. `tests/run` installs what is missing.

mod api;
mod baresip;
mod calls;
mod kamailio;
mod lab;
mod limit;
mod load;
mod process;
mod sbc;
mod sipp;
mod sound;
mod tshark;
mod voices;
