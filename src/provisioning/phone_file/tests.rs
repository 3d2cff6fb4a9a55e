use super::*;
use crate::provisioning::device::DeviceModel;

fn site() -> Site {
    Site {
        base_url: "https://prov.example.net/prov/".into(),
        host: "sbc.example.net".into(),
        port: 5061,
        transport: PhoneTransport::Tls,
        expires_s: 3601,
    }
}

fn mac(family: Family) -> Mac {
    let text = match family {
        Family::Yealink => "001565aabbcc",
        Family::Polycom => "0004f2aabbcc",
        Family::Grandstream => "000b82aabbcc",
        Family::Cisco => "000e08aabbcc",
        Family::Snom => "000413aabbcc",
        Family::Generic => "02aabbccddee",
    };
    text.parse().unwrap()
}

fn line(family: Family, display_name: &str) -> Line {
    Line {
        mac: mac(family),
        label: "1001".into(),
        display_name: display_name.into(),
        user: "1001-abcdefgh".into(),
        password: Secret::new("s1p-s3cret"),
        hotline: None,
        admin: Some(Secret::new("adm1n-s3cret")),
        file: Some(Secret::new("f1le-s3cret")),
    }
}

/// D-13, D-14: a bootstrap file holds nobody's credentials, one's own holds all that the telephone needs; what leads to
/// it holds no secret.
#[test]
fn secrets_stand_where_they_belong() {
    let site = site();
    for family in Family::ALL {
        let text = own(*family, &site, &line(*family, "Jo"));
        for needed in [
            "1001-abcdefgh",
            "s1p-s3cret",
            "sbc.example.net",
            "5061",
            "Jo",
        ] {
            assert!(text.contains(needed), "{family:?}: {needed}");
        }
        let bootstrap = own(
            *family,
            &site,
            &Line::bootstrap(mac(*family), Secret::new("b00tstrap")),
        );
        let name = format!("act-{}", mac(*family));
        for needed in [name.as_str(), "b00tstrap", "Activate"] {
            assert!(bootstrap.contains(needed), "{family:?}: {needed}");
        }
        for other in [None, Some(mac(*family))] {
            let text = pointer(*family, &site, other).unwrap_or_default();
            assert!(
                !text.contains("s3cret") && !text.contains("act-"),
                "{family:?}"
            );
        }
    }
}

/// A name of whatever characters adds no line, no element and no attribute.
#[test]
fn a_name_cannot_say_more_than_a_name() {
    let evil = "x\r\naccount.2.enable = 1\n\u{2028}\" reg.2.address=\"y\"/><evil/>&amp;]]><!-- ;auth_user=z --> \u{0}";
    for family in Family::ALL {
        let (tame, text) = (
            own(*family, &site(), &line(*family, "x")),
            own(*family, &site(), &line(*family, evil)),
        );
        assert_eq!(tame.lines().count(), text.lines().count(), "{family:?}");
        let count = |text: &str, what: &str| text.matches(what).count();
        for mark in ["<", ">", "\"", "'", "]]>"] {
            if *family != Family::Yealink {
                assert_eq!(count(&tame, mark), count(&text, mark), "{family:?} {mark}");
            }
        }
        if *family == Family::Generic {
            assert_eq!(count(&text, ";"), count(&tame, ";"));
        }
        assert!(!text.contains('\0'), "{family:?}");
    }
}

/// Every model of the catalogue can be set up.
#[test]
fn every_model_has_a_file() {
    for model in crate::provisioning::device::MODELS {
        let family = model.config_format;
        assert!(DeviceModel::of(model.code).is_some_and(|m| m.fits(mac(family))));
        assert!(model.transports.contains(&site().transport));
        assert!(own(family, &site(), &line(family, "Jo")).ends_with('\n'));
    }
}
