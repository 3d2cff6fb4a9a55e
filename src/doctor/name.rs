//! Whether Teams can reach a name: DNS, and Microsoft's rules for names of SBCs.

use std::net::IpAddr;

use super::Check;
use crate::net::probe::{Found, NameFacts};

/// Characters of a gateway object's FQDN (TDR-111).
const MOST_OF_GATEWAY: usize = 63;
/// Characters of a domain in Entra ID (TDR-111).
const MOST_OF_DOMAIN: usize = 48;
/// Characters of a label that Microsoft's own product allows (TDR-1205).
const SHORT_LABEL: usize = 8;

/// Names of the checks.
pub const RULES: &str = "rules for names";
/// See [`address`].
pub const DNS: &str = "DNS address";

/// Microsoft's rules for a name that it dials; `base` if it is that of a region.
pub fn rules(fqdn: &str, base: bool) -> Check {
    let name = fqdn.trim_end_matches('.').to_ascii_lowercase();
    if name.parse::<IpAddr>().is_ok() {
        return Check::fault(
            RULES,
            format!("{name} is an address"),
            "Teams dials names only (TDR-403)",
        );
    }
    if name.ends_with(".onmicrosoft.com") {
        let evidence = format!("{name} is below onmicrosoft.com");
        return Check::fault(RULES, evidence, "use a domain of your own (TDR-111)");
    }
    let length = name.chars().count();
    if length > MOST_OF_GATEWAY {
        let evidence = format!("{name} has {length} characters");
        return Check::fault(RULES, evidence, "a gateway's name has 63 at most (TDR-111)");
    }
    if !base && length > MOST_OF_DOMAIN {
        let evidence = format!("{name} has {length} characters");
        return Check::fault(
            RULES,
            evidence,
            "Entra ID takes domains of 48 at most: use a shorter label (TDR-111)",
        );
    }
    let label = name.split('.').next().unwrap_or_default();
    if !base && label.len() > SHORT_LABEL {
        let evidence = format!("the label {label} has {} characters", label.len());
        return Check::warning(
            RULES,
            evidence,
            "it should do; Microsoft's own product keeps to 8 (TDR-1205)",
        );
    }
    Check::ok(RULES, format!("{name}, {length} characters"))
}

/// Where a name leads, as Teams sees it.
pub fn address(facts: &NameFacts) -> Check {
    let name = &facts.name;
    match &facts.found {
        Found::Addresses(addresses) if facts.local => Check::not_checked(
            DNS,
            format!(
                "{name} is answered by dns.hosts: {}; what others see was not asked",
                listed(addresses)
            ),
        ),
        Found::Addresses(addresses) if are_several(addresses) => Check::warning(
            DNS,
            format!("{name} has several addresses: {}", listed(addresses)),
            "one name with several addresses is not supported: keep one of each family, or use a name for each node (TDR-110)",
        ),
        Found::Addresses(addresses) => {
            Check::ok(DNS, format!("{name} is at {}", listed(addresses)))
        }
        Found::NoAddress { text: true } => Check::fault(
            DNS,
            format!("{name} has a TXT record and no address"),
            "add an A or AAAA record for this very name: a wildcard does not cover a name that has any record (569016, TDR-108, TDR-109)",
        ),
        Found::NoAddress { text: false } => Check::fault(
            DNS,
            format!("{name} exists and has no address"),
            "add an A or AAAA record for this very name (569016, TDR-108)",
        ),
        Found::NoSuchName => Check::fault(
            DNS,
            format!("{name} does not exist"),
            "add an A or AAAA record (569015, TDR-108)",
        ),
        Found::Unknown(why) => Check::not_checked(DNS, format!("{name}: {why}")),
    }
}

/// Two of one family; one of each is one address as far as a peer sees.
fn are_several(addresses: &[IpAddr]) -> bool {
    let of = |four: bool| addresses.iter().filter(|a| a.is_ipv4() == four).count();
    of(true) > 1 || of(false) > 1
}

fn listed(addresses: &[IpAddr]) -> String {
    let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn facts(found: Found) -> NameFacts {
        NameFacts {
            name: "acme.sbc.example".into(),
            local: false,
            found,
        }
    }

    /// TDR-111, TDR-1205: no onmicrosoft.com, 63 and 48 characters, short labels, no address.
    #[test]
    fn names_keep_to_microsofts_rules() {
        let long = |n: usize| format!("{}.sbc.example", "a".repeat(n - 12));
        for (name, base, expected) in [
            ("acme.sbc.example".to_owned(), false, Verdict::Ok),
            (
                "sbc.contoso.onmicrosoft.com".to_owned(),
                true,
                Verdict::Fault,
            ),
            ("192.0.2.1".to_owned(), true, Verdict::Fault),
            (long(63), true, Verdict::Ok),
            (long(64), true, Verdict::Fault),
            (long(48), false, Verdict::Warning),
            (long(49), false, Verdict::Fault),
        ] {
            assert_eq!(rules(&name, base).verdict, expected, "{name}");
        }
    }

    /// TDR-108, TDR-109, TDR-110: what is missing, the wildcard trap, and several addresses.
    #[test]
    fn a_name_must_lead_to_one_address() {
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let six: IpAddr = "2001:db8::1".parse().unwrap();
        for (found, expected, word) in [
            (Found::Addresses(vec![one, six]), Verdict::Ok, "192.0.2.1"),
            (
                Found::Addresses(vec![one, one]),
                Verdict::Warning,
                "TDR-110",
            ),
            (Found::NoAddress { text: true }, Verdict::Fault, "wildcard"),
            (Found::NoAddress { text: false }, Verdict::Fault, "569016"),
            (Found::NoSuchName, Verdict::Fault, "569015"),
            (
                Found::Unknown("refused".into()),
                Verdict::NotChecked,
                "refused",
            ),
        ] {
            let check = address(&facts(found));
            let text = format!("{} {}", check.evidence, check.remedy);
            assert!(
                check.verdict == expected && text.contains(word),
                "{check:?}"
            );
        }
        let local = NameFacts {
            local: true,
            ..facts(Found::Addresses(vec![one]))
        };
        assert_eq!(address(&local).verdict, Verdict::NotChecked);
    }
}
