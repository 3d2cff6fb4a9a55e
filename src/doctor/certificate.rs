//! Whether Teams, or a trunk, takes a certificate of ours: the one judgement of `check`, `doctor` and the API.

use std::time::{Duration, SystemTime};

use super::Check;
use crate::net::{CertificateFacts, ChainEnd, Key};

/// Teams warns of a certificate's end at the same distance (TDR-209).
const SOON: Duration = Duration::from_secs(30 * 86_400);
/// Bits of an RSA key that are enough (TDR-121).
const ENOUGH_BITS: usize = 2048;

/// Names of the checks.
pub const EXPIRY: &str = "certificate expiry";
/// See [`judge`].
pub const KEY: &str = "certificate key";
/// See [`judge`].
pub const USAGE: &str = "certificate usage";
/// See [`judge`].
pub const CHAIN: &str = "certificate chain";
/// See [`judge`].
pub const NAMES: &str = "certificate names";

/// Everything about one certificate; `names` are the FQDNs that Teams will look for in it.
pub fn judge(facts: &CertificateFacts, names: &[String], now: SystemTime) -> Vec<Check> {
    vec![
        expiry(facts, now),
        key(facts),
        usage(facts),
        chain(facts),
        covered(facts, names),
    ]
}

/// How long a certificate still lasts.
pub fn expiry(facts: &CertificateFacts, now: SystemTime) -> Check {
    let days = |d: Duration| d.as_secs() / 86_400;
    if now < facts.not_before {
        let evidence = "it is not valid yet";
        return Check::fault(EXPIRY, evidence, "check this machine's clock, or wait");
    }
    let Ok(left) = facts.not_after.duration_since(now) else {
        let ago = now.duration_since(facts.not_after).unwrap_or_default();
        let evidence = format!("it expired {} days ago", days(ago));
        return Check::fault(
            EXPIRY,
            evidence,
            "renew it; a new file is taken without a restart",
        );
    };
    let evidence = format!("{} days left", days(left));
    if left < SOON {
        return Check::warning(EXPIRY, evidence, "renew it now; Teams warns, too (TDR-209)");
    }
    Check::ok(EXPIRY, evidence)
}

fn key(facts: &CertificateFacts) -> Check {
    let remedy = "have it issued for an RSA key of 2048 bits or more: all cipher suites that Teams names are RSA (TDR-121)";
    match facts.key {
        Key::Rsa(bits) if bits >= ENOUGH_BITS => Check::ok(KEY, format!("RSA, {bits} bits")),
        Key::Rsa(bits) => Check::fault(KEY, format!("RSA, only {bits} bits"), remedy),
        Key::Ec(bits) => Check::warning(KEY, format!("EC, {bits} bits"), remedy),
        Key::Other => Check::fault(KEY, "neither RSA nor EC", remedy),
    }
}

fn usage(facts: &CertificateFacts) -> Check {
    match (facts.server_auth, facts.client_auth) {
        (true, true) => Check::ok(USAGE, "serverAuth and clientAuth"),
        (true, false) => Check::warning(
            USAGE,
            "serverAuth without clientAuth",
            "Teams has asked for both since 2024; have it issued with clientAuth, or use another one as tls.dialler_certificate (TDR-128)",
        ),
        (false, _) => Check::fault(
            USAGE,
            "without serverAuth",
            "have it issued for TLS servers (extended key usage serverAuth)",
        ),
    }
}

fn chain(facts: &CertificateFacts) -> Check {
    let count = facts.chain;
    match &facts.chain_end {
        ChainEnd::SelfSigned => Check::fault(
            CHAIN,
            "it has signed itself",
            "Teams takes certificates of public authorities only (569009, TDR-127)",
        ),
        ChainEnd::Broken(at) => Check::fault(
            CHAIN,
            format!("certificate {at} of the file was not issued by the one after it"),
            "put the certificate first, then each issuer after the one that it issued",
        ),
        ChainEnd::Root => Check::ok(
            CHAIN,
            format!("{count} certificates, up to the root itself"),
        ),
        ChainEnd::KnownIssuer(issuer) => Check::ok(
            CHAIN,
            format!("{count} certificates, issued by the known root {issuer}"),
        ),
        ChainEnd::UnknownIssuer(issuer) => Check::fault(
            CHAIN,
            format!(
                "{count} certificates, and {issuer}, which issued the last one, is neither among them nor a known root"
            ),
            "add the intermediate certificates of the authority to the file (TDR-122); a private authority is refused by Teams (569009, TDR-127)",
        ),
        ChainEnd::NoRoots(issuer) => Check::not_checked(
            CHAIN,
            format!(
                "{count} certificates, the last issued by {issuer}; no roots to compare with are at hand"
            ),
        ),
    }
}

fn covered(facts: &CertificateFacts, names: &[String]) -> Check {
    let missing: Vec<_> = names
        .iter()
        .filter(|fqdn| !facts.names.iter().any(|name| covers(name, fqdn)))
        .map(String::as_str)
        .collect();
    let has = facts.names.join(", ");
    if names.is_empty() {
        return Check::not_checked(
            NAMES,
            format!("{has}; nothing is provisioned that needs a name"),
        );
    }
    if missing.is_empty() {
        return Check::ok(
            NAMES,
            format!("{has} cover all {} names that Teams uses", names.len()),
        );
    }
    let shown = missing
        .iter()
        .take(5)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    let more = missing.len().saturating_sub(5);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    Check::fault(
        NAMES,
        format!("{has} do not cover {shown}{more}"),
        "have it issued for the base name and for *.base, both: a wildcard stands for one label and not for the base itself (TDR-129, TDR-130)",
    )
}

/// One label stands for a wildcard, not none and not two (TDR-129).
pub fn covers(name: &str, fqdn: &str) -> bool {
    let fqdn = fqdn.to_ascii_lowercase();
    let rest = |wild: &str| {
        fqdn.split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest == wild)
    };
    name == fqdn || name.strip_prefix("*.").is_some_and(rest)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn good() -> CertificateFacts {
        CertificateFacts {
            path: "sbc.crt".into(),
            listener: true,
            names: vec!["sbc.example".into(), "*.sbc.example".into()],
            addresses: Vec::new(),
            issuer: "CN=Intermediate".into(),
            not_before: SystemTime::UNIX_EPOCH,
            not_after: SystemTime::UNIX_EPOCH + 90 * DAY,
            server_auth: true,
            client_auth: true,
            key: Key::Rsa(2048),
            chain: 2,
            chain_end: ChainEnd::KnownIssuer("CN=Root".into()),
        }
    }

    fn names() -> Vec<String> {
        vec!["sbc.example".into(), "acme.sbc.example".into()]
    }

    /// The verdict about `name` on the first day.
    fn verdict(facts: &CertificateFacts, name: &str) -> (Verdict, String) {
        let checks = judge(facts, &names(), SystemTime::UNIX_EPOCH + DAY);
        let check = checks.into_iter().find(|check| check.name == name).unwrap();
        (check.verdict, check.evidence + &check.remedy)
    }

    #[test]
    fn a_good_certificate_has_no_fault() {
        let checks = judge(&good(), &names(), SystemTime::UNIX_EPOCH + DAY);
        assert!(
            checks.iter().all(|check| check.verdict == Verdict::Ok),
            "{checks:?}"
        );
    }

    /// TDR-129's own examples: `*.a.com` covers `foo.a.com`, not `bar.foo.a.com` and not `a.com`.
    #[test]
    fn a_wildcard_stands_for_one_label() {
        assert!(covers("*.a.com", "Foo.a.com") && covers("a.com", "A.com"));
        assert!(
            !covers("*.a.com", "bar.foo.a.com")
                && !covers("*.a.com", "a.com")
                && !covers("*.a.com", ".a.com")
        );
    }

    /// TDR-130: the base name and the wildcard are both needed, and what is missing is named.
    #[test]
    fn base_and_wildcard_are_both_needed() {
        for (has, missing) in [
            ("sbc.example", "acme.sbc.example"),
            ("*.sbc.example", "sbc.example"),
        ] {
            let facts = CertificateFacts {
                names: vec![has.into()],
                ..good()
            };
            let (verdict, text) = verdict(&facts, NAMES);
            assert!(
                verdict == Verdict::Fault && text.contains(&format!("do not cover {missing}")),
                "{text}"
            );
        }
    }

    /// TDR-209: 30 days before the end begins the warning; after it there is a fault.
    #[test]
    fn the_end_is_announced() {
        let ends = |days| CertificateFacts {
            not_after: SystemTime::UNIX_EPOCH + days * DAY,
            ..good()
        };
        assert_eq!(verdict(&ends(32), EXPIRY).0, Verdict::Ok);
        assert_eq!(verdict(&ends(30), EXPIRY).0, Verdict::Warning);
        assert_eq!(verdict(&ends(0), EXPIRY).0, Verdict::Fault);
        let later = CertificateFacts {
            not_before: SystemTime::UNIX_EPOCH + 2 * DAY,
            ..good()
        };
        assert_eq!(verdict(&later, EXPIRY).0, Verdict::Fault);
    }

    /// TDR-121, TDR-128: an RSA key of 2048 bits, for servers and clients.
    #[test]
    fn key_and_usage_are_those_that_teams_asks_for() {
        for (key, expected) in [
            (Key::Rsa(1024), Verdict::Fault),
            (Key::Rsa(4096), Verdict::Ok),
            (Key::Ec(256), Verdict::Warning),
            (Key::Other, Verdict::Fault),
        ] {
            assert_eq!(
                verdict(&CertificateFacts { key, ..good() }, KEY).0,
                expected
            );
        }
        let server_only = CertificateFacts {
            client_auth: false,
            ..good()
        };
        assert_eq!(verdict(&server_only, USAGE).0, Verdict::Warning);
        let client_only = CertificateFacts {
            server_auth: false,
            ..good()
        };
        assert_eq!(verdict(&client_only, USAGE).0, Verdict::Fault);
    }

    /// TDR-122, TDR-127: a chain must lead to a root that others know.
    #[test]
    fn the_chain_must_lead_to_a_known_root() {
        for (chain_end, expected) in [
            (ChainEnd::Root, Verdict::Ok),
            (ChainEnd::SelfSigned, Verdict::Fault),
            (ChainEnd::Broken(1), Verdict::Fault),
            (
                ChainEnd::UnknownIssuer("CN=Intermediate".into()),
                Verdict::Fault,
            ),
            (ChainEnd::NoRoots("CN=Root".into()), Verdict::NotChecked),
        ] {
            let facts = CertificateFacts {
                chain_end,
                ..good()
            };
            assert_eq!(verdict(&facts, CHAIN).0, expected, "{facts:?}");
        }
    }
}
