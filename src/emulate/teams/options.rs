//! OPTIONS of Teams: none to a gateway before it has sent one, then at an interval (TDR-201).

use std::sync::Arc;
use std::time::Duration;

use super::rules::Rules;
use super::{PROXY, SERVER, lock};
use crate::emulate::agent::Agent;
use crate::emulate::message::{Draft, Message, host_of, uri_of};

/// Sends OPTIONS to every gateway that sent one itself.
pub(super) async fn ping(agent: Arc<Agent>, rules: Arc<Rules>) {
    let mut closed = agent.closed.clone();
    loop {
        let known: Vec<String> = lock(&rules.health)
            .iter()
            .filter(|(_, h)| h.sent == 0)
            .map(|(fqdn, _)| fqdn.clone())
            .collect();
        for fqdn in known {
            tokio::spawn(ping_one(agent.clone(), rules.clone(), fqdn.clone()));
            if let Some(health) = lock(&rules.health).get_mut(&fqdn) {
                health.sent = 1;
            }
        }
        tokio::select! {
            () = rules.wake.notified() => {}
            _ = closed.changed() => return,
        }
    }
}

async fn ping_one(agent: Arc<Agent>, rules: Arc<Rules>, fqdn: String) {
    let mut closed = agent.closed.clone();
    let mut number = 0;
    let call_id = format!("{:032x}", rand::random::<u128>());
    let Some(mut inbox) = agent.inbox(&call_id) else {
        return;
    };
    let mut tick = tokio::time::interval(rules.interval.max(Duration::from_millis(10)));
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            Some(inbound) = inbox.recv() => {
                if inbound.message.status() == Some(200) && let Some(health) = lock(&rules.health).get_mut(&fqdn) {
                    health.answered += 1;
                }
                if inbound.message.status() == Some(200) {
                    judge_pong(&agent, &inbound.message, &fqdn);
                }
                continue;
            }
            _ = closed.changed() => return,
        }
        number += 1;
        let uri = format!("sip:{fqdn}:{};transport=tls", rules.dialler.sbc().port());
        let Ok(wire) = rules.dialler.connect(&uri).await else {
            continue;
        };
        let mut draft = Draft::request("OPTIONS", &uri);
        draft
            .push(
                "From",
                format!(
                    "<sip:{PROXY}:{}>;tag={:08x}",
                    rules.port,
                    rand::random::<u32>()
                ),
            )
            .push("To", format!("<sip:{fqdn}>"));
        draft
            .push("Call-ID", &call_id)
            .push("CSeq", format!("{number} OPTIONS"))
            .push("Max-Forwards", "70");
        draft
            .push(
                "Contact",
                format!("<sip:{PROXY}:{};transport=tls>", rules.port),
            )
            .push("User-Agent", SERVER);
        let via = format!(
            "SIP/2.0/TLS {PROXY}:{};branch=z9hG4bK{:016x}",
            rules.port,
            rand::random::<u64>()
        );
        if number > 1
            && let Some(health) = lock(&rules.health).get_mut(&fqdn)
        {
            health.sent += 1;
        }
        agent.send(&wire, draft.print(Some(&via), true));
    }
}

/// TDR-207: the 200 to OPTIONS has a Contact with the gateway's name and an Allow.
fn judge_pong(agent: &Agent, response: &Message, fqdn: &str) {
    let named = response
        .header("Contact")
        .is_some_and(|contact| host_of(uri_of(contact)).0 == fqdn);
    if !named || response.header("Allow").is_none() {
        agent.note(
            "TDR-207",
            format!("the 200 to OPTIONS lacks Allow or a Contact of {fqdn}"),
        );
    }
}
