//! OPTIONS in both directions.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::bench::Bench;
use super::findings::{Finding, Findings, Step};
use super::look;
use crate::emulate::message::{Message, uri_of, user_of};
use crate::emulate::{Traced, Way};

/// What a slow machine or a busy SBC may be late by.
const SLACK: Duration = Duration::from_secs(5);

/// TDR-201 to TDR-204, TDR-420: the SBC begins, says who it is and what it can, asks every proxy, and asks again.
pub(super) async fn sent(bench: &Bench, findings: &mut Findings) -> Step {
    let interval = bench.facts.options_interval;
    let ends = Instant::now() + interval * 3 / 2 + SLACK;
    let mut seen = by_proxy(bench);
    while Instant::now() < ends
        && (seen.len() < bench.teams.proxies.len() || seen.values().any(|times| times.len() < 2))
    {
        tokio::time::sleep(Duration::from_millis(100)).await;
        seen = by_proxy(bench);
    }
    let Some(last) = seen.values().filter_map(|m| m.last()).max_by_key(|m| m.at) else {
        let rule = format!(
            "OPTIONS of {} come every {} s",
            bench.facts.base,
            interval.as_secs()
        );
        return Err(Finding::new("TDR-201", rule, "none"));
    };
    for (proxy, address) in bench.teams.proxies.iter().enumerate() {
        let times = seen.get(&proxy).map_or(0, Vec::len);
        findings.check(
            "TDR-204",
            times >= 2,
            format!(
                "proxy {} gets OPTIONS every {} s",
                proxy + 1,
                interval.as_secs()
            ),
            || format!("{times} at {address} in the time for two"),
        );
    }
    for times in seen.values() {
        for pair in times.windows(2) {
            let pause = pair[1].at - pair[0].at;
            findings.check(
                "TDR-204",
                pause >= interval / 3 && pause <= interval * 3 / 2 + SLACK,
                format!("OPTIONS come every {} s", interval.as_secs()),
                || format!("{:.1} s between two", pause.as_secs_f32()),
            );
        }
    }
    if let Some(message) = look::read(&last.text) {
        judge(bench, findings, &message);
    }
    Ok(())
}

/// OPTIONS about the carrier's trunk that came so far, by proxy.
fn by_proxy(bench: &Bench) -> BTreeMap<usize, Vec<Traced>> {
    let mut seen: BTreeMap<usize, Vec<Traced>> = BTreeMap::new();
    for message in bench.teams.trace().messages() {
        let proxy = message
            .ends
            .and_then(|(here, _)| bench.teams.proxies.iter().position(|p| *p == here));
        let ours =
            look::read(&message.text).is_some_and(|m| look::host(&m, "From") == bench.facts.base);
        if let Some(proxy) = proxy
            && message.way == Way::In
            && message.first_line.starts_with("OPTIONS ")
            && ours
        {
            seen.entry(proxy).or_default().push(message);
        }
    }
    seen
}

fn judge(bench: &Bench, findings: &mut Findings, message: &Message) {
    let base = &bench.facts.base;
    findings.check(
        "TDR-202",
        user_of(message.uri()).is_empty() && !message.uri().starts_with("sips:"),
        "the Request-URI of OPTIONS has no user part and is no sips URI",
        || message.first_line().to_owned(),
    );
    let contact = message.header("Contact").map(uri_of).unwrap_or_default();
    findings.check(
        "TDR-203",
        look::host(message, "Contact") == *base,
        format!("the Contact of OPTIONS is {base}"),
        || look::line(message, "Contact"),
    );
    findings.check(
        "TDR-202",
        user_of(contact).is_empty()
            && look::uri_parameter(contact, "transport")
                .is_some_and(|t| t.eq_ignore_ascii_case("tls")),
        "the Contact of OPTIONS has no user part, and transport=tls",
        || look::line(message, "Contact"),
    );
    for method in ["REFER", "NOTIFY", "INVITE", "BYE"] {
        findings.check(
            "TDR-202",
            message.lists("Allow", method),
            format!("OPTIONS allow {method}"),
            || look::line(message, "Allow"),
        );
    }
    for name in ["X-MS-SBC", "User-Agent"] {
        findings.check(
            "TDR-420",
            message.header(name).is_some(),
            format!("OPTIONS say what the SBC is in {name}"),
            || look::line(message, name),
        );
    }
    findings.check(
        "TDR-404",
        message.header("Record-Route").is_none(),
        "OPTIONS have no Record-Route",
        || look::line(message, "Record-Route"),
    );
}

/// TDR-207: OPTIONS of Teams are answered 200 with a Contact of the trunk and an Allow.
pub(super) async fn answered(bench: &Bench, findings: &mut Findings) -> Step {
    let base = &bench.facts.base;
    let interval = bench.facts.options_interval;
    let from = Instant::now();
    let answered = || bench.teams.health(base).map_or(0, |health| health.answered);
    let before = answered();
    while answered() == before && from.elapsed() < interval * 3 / 2 + SLACK {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    findings.check(
        "TDR-207",
        answered() > before,
        "OPTIONS of Teams are answered 200",
        || format!("{:?}", bench.teams.health(base)),
    );
    let answers = look::received(&bench.teams.trace().messages());
    let answer = |m: &&Message| look::answers(m, 200, "OPTIONS");
    let Some(message) = answers.iter().rev().find(answer) else {
        return Ok(());
    };
    findings.check(
        "TDR-207",
        look::host(message, "Contact") == *base,
        format!("the Contact of the 200 to OPTIONS is {base}"),
        || look::line(message, "Contact"),
    );
    for method in ["REFER", "NOTIFY"] {
        findings.check(
            "TDR-207",
            message.lists("Allow", method),
            format!("the 200 to OPTIONS allows {method}"),
            || look::line(message, "Allow"),
        );
    }
    Ok(())
}
