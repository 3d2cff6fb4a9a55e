//! What the seeds say a provisioning system must do: each test bears the id of its check.

#![allow(clippy::unwrap_used)] // not all of a test is inside #[test]

mod across;
mod activation_lab;
mod full_disk;
mod mail_sink;
pub mod nameserver;
mod office;
mod ooma_activation;
mod people;
mod s0_activation;
mod s1_calls;
mod s1_partner_portal;
mod s2_calls;
mod s2_enterprises;
mod s2_identifiers;
mod s2_invitations;
mod s2_registrations;
mod s3_calls;
mod s3_invitations;
mod s3_upgrade;
mod s4_activation;
mod s4_desk_phones;
mod s4_phone_files;
mod teams_push;
mod wizard;

use serde_json::Value;

/// The code of a problem.
fn code(body: &Value) -> &str {
    body["code"].as_str().unwrap_or_default()
}
