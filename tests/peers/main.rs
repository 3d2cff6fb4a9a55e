//! Tollgate as it is built, between programs of other people: sipp and Kamailio for signalling and load, baresip and
//! linphone for what is heard, tshark for what is on the wire, Knot for what is in DNS, Net::SIP as a registrar, aiosmtpd
//! for letters, schemathesis for requests to the API. Everything runs on loopback, at
//! addresses of its own, and is ended by process id, also when a test fails. `tests/run` installs what is missing.

mod api;
mod baresip;
mod calls;
mod desk;
mod emulated;
mod failover;
mod holds;
mod kamailio;
mod knot;
mod lab;
mod limit;
mod linphone;
mod load;
mod mail;
mod phones;
mod process;
mod registrations;
mod ringing;
mod sbc;
mod schemathesis;
mod script;
mod sipp;
mod sound;
mod transfers;
mod tshark;
mod voices;
mod wire;
