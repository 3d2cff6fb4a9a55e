use super::Config;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A key, its value in the unit of the key (entries, where it is a list), and what the value may be.
pub(super) type Range = (&'static str, u64, RangeInclusive<u64>);

/// Every key that has a smallest and a largest value.
#[rustfmt::skip]
pub(super) fn ranges(config: &Config) -> Vec<Range> {
    let Config { sip, tls, teams, microsoft, publish, media, dns, calls, registrations, phones, cdr, why, audit, sign_in, seats, mail, phone_files, ladder, .. } = config;
    let n = |count: usize| count as u64;
    let s = |duration: Duration| duration.as_secs();
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut ranges = vec![
        ("sip.udp", n(sip.udp.len()), 0..=16),
        ("sip.tcp", n(sip.tcp.len()), 0..=16),
        ("sip.tls", n(sip.tls.len()), 0..=16),
        ("sip.max_connections", n(sip.max_connections), 1..=100_000),
        ("sip.max_connections_per_source", n(sip.max_connections_per_source), 100..=100_000),
        ("sip.idle_timeout_s", s(sip.idle_timeout), 30..=86_400),
        ("sip.keep_alive_s", s(sip.keep_alive), 5..=60),
        ("sip.handshake_timeout_s", s(sip.handshake_timeout), 1..=60),
        ("sip.connect_timeout_s", s(sip.connect_timeout), 1..=30),
        ("sip.renew_s", s(sip.renew), 60..=3600),
        ("sip.max_transactions", n(sip.max_transactions), 100..=10_000_000),
        ("sip.t1_ms", ms(sip.t1), 50..=5000),
        ("sip.t2_ms", ms(sip.t2), ms(sip.t1)..=20_000),
        ("sip.t4_ms", ms(sip.t4), ms(sip.t1)..=20_000),
        ("sip.trying_timeout_ms", ms(sip.trying_timeout), 500..=32_000),
        ("sip.proceeding_timeout_s", s(sip.proceeding_timeout), 60..=3600),
        ("sip.dscp", sip.dscp.into(), 0..=63),
        ("tls.reload_s", s(tls.reload), 1..=3600),
        ("teams.proxies", n(teams.proxies.len()), 1..=8),
        ("teams.names", n(teams.names.len()), 1..=16),
        ("teams.address_ranges", n(teams.address_ranges.len()), 1..=64),
        ("teams.options_interval_s", s(teams.options_interval), 10..=60),
        ("teams.transfer_ringback_s", teams.transfer_ringback_s.into(), 0..=60),
        ("microsoft.timeout_s", s(microsoft.timeout), 1..=120),
        ("publish.servers", n(publish.servers.len()), 0..=8),
        ("publish.ttl_s", publish.ttl_s.into(), 1..=86_400),
        ("publish.timeout_s", s(publish.timeout), 1..=30),
        ("media.cool_down_s", s(media.cool_down), 0..=600),
        ("media.dscp", media.dscp.into(), 0..=63),
        ("media.threads", n(media.threads), 0..=64),
        ("media.collect_us", u64::try_from(media.collect.as_micros()).unwrap_or(u64::MAX), 0..=5000),
        ("media.receive_buffer_kib", n(media.receive_buffer_kib), 16..=16_384),
        ("dns.nameservers", n(dns.nameservers.len()), 0..=8),
        ("dns.hosts", n(dns.hosts.len()), 0..=1000),
        ("dns.timeout_s", s(dns.timeout), 1..=30),
        ("calls.max_calls", n(calls.max_calls), 1..=100_000),
        ("calls.ring_timeout_s", s(calls.ring_timeout), 10..=600),
        ("calls.max_duration_s", s(calls.max_duration), 60..=604_800),
        ("calls.session_expires_s", s(calls.session_expires), 90..=86_400),
        ("calls.min_se_s", s(calls.min_se), 90..=s(calls.session_expires)),
        ("calls.emergency_numbers", n(calls.emergency_numbers.len()), 0..=64),
        ("calls.drain_timeout_s", s(calls.drain_timeout), 0..=3600),
        ("calls.max_announcements", n(calls.max_announcements), 0..=10_000),
        ("calls.announcement_max_s", s(calls.announcement_max), 1..=60),
        ("registrations.per_second", registrations.per_second.into(), 1..=5000),
        ("registrations.max", n(registrations.max), 0..=1_000_000),
        ("phones.max_phones", n(phones.max_phones), 1..=1_000_000),
        ("phones.max_unactivated", n(phones.max_unactivated), 0..=100_000),
        ("phones.min_expires_s", s(phones.min_expires), 10..=3600),
        ("phones.max_expires_s", s(phones.max_expires), 60..=86_400),
        ("phones.path_expires_s", s(phones.path_expires), 30..=3600),
        ("cdr.retention_days", cdr.retention_days.into(), 0..=36_500),
        ("why.retention_days", why.retention_days.into(), 0..=36_500),
        ("audit.retention_days", audit.retention_days.into(), 0..=36_500),
        ("sign_in.timeout_s", s(sign_in.timeout), 1..=25),
        ("seats.timeout_s", s(seats.timeout), 1..=25),
        ("phone_files.expires_s", s(phone_files.expires), 60..=86_400),
        ("phone_files.max_connections", n(phone_files.max_connections), 1..=100_000),
        ("phone_files.max_connections_per_source", n(phone_files.max_connections_per_source), 1..=10_000),
        ("phone_files.requests_per_minute", phone_files.requests_per_minute.into(), 10..=100_000),
        ("phone_files.redirect_timeout_s", s(phone_files.redirect_timeout), 1..=60),
        ("mail.port", mail.port.into(), 1..=65_535),
        ("mail.timeout_s", s(mail.timeout), 1..=120),
        ("ladder.max_messages", n(ladder.max_messages), 10..=10_000),
        ("ladder.max_bytes", n(ladder.max_bytes), 65_536..=16_777_216),
        ("ladder.max_total_mib", n(ladder.max_total_mib), 16..=4096),
        ("ladder.max_call_messages", n(ladder.max_call_messages), 10..=100_000),
        ("ladder.max_call_bytes", n(ladder.max_call_bytes), 65_536..=67_108_864),
        ("ladder.keep_s", s(ladder.keep), 60..=604_800),
    ];
    if let Some(timeout) = media.inactivity_timeout {
        ranges.push(("media.inactivity_timeout_s", s(timeout), 5..=3600));
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::super::load::{load, meaning};
    use super::*;

    /// What `config/tollgate.toml` says of a limit is the limit: both ends, unless another key or nothing is one.
    #[test]
    fn the_limits_are_those_that_the_file_tells() {
        for (key, value, range) in ranges(&load(None, []).unwrap()) {
            let meaning = meaning(key);
            let told = |bound: u64| meaning.contains(&bound.to_string());
            let depends = matches!(key, "sip.t2_ms" | "sip.t4_ms" | "calls.min_se_s");
            let is_list =
                *range.start() <= 1 && !key.ends_with("_s") && !key.ends_with("max_calls");
            assert!(
                depends || is_list || told(*range.start()),
                "{key}: {meaning}"
            );
            assert!(depends || told(*range.end()), "{key}: {meaning}");
            assert!(range.contains(&value), "{key}");
        }
    }
}
