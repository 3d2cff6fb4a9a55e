// What holds for the names that strangers ask a phone's files by, for addresses, and for names of people in files. The fuzz
// target and `tests/it` try it.

use tollgate::directory::Secret;
use tollgate::provisioning::device::{Family, Mac, PhoneTransport};
use tollgate::provisioning::phone_file::{FileName, Line, Site, own};

/// Whether the bytes are a name that a telephone may ask for.
pub fn check(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    for mac in [Mac::find(&text), text.parse().ok()].into_iter().flatten() {
        assert_eq!(mac.to_string().parse(), Ok(mac));
        assert!(mac.bytes()[0] & 1 == 0);
    }
    for family in Family::ALL {
        let (plain, named) = (file(*family, "x"), file(*family, &text));
        assert_eq!(plain.lines().count(), named.lines().count(), "{family:?}");
        assert!(!named.contains('\0'));
    }
    let Some(name) = FileName::read(&text) else {
        return false;
    };
    assert!(text.len() <= 64 && text.is_ascii() && !text.contains('/'));
    let read = FileName::read(&text.to_ascii_uppercase());
    assert_eq!(read, Some(name), "case does not matter");
    let of = name.family();
    let parts = Family::ALL
        .iter()
        .filter(|family| name.part(**family).is_some());
    assert!(
        parts
            .filter(|family| of.is_some_and(|of| of != **family))
            .count()
            == 0
    );
    true
}

fn file(family: Family, display_name: &str) -> String {
    let site = Site {
        base_url: "https://a/prov/".into(),
        host: "a".into(),
        port: 5061,
        transport: PhoneTransport::Tls,
        expires_s: 600,
    };
    let mac = "001565aabbcc".parse().expect("an address");
    let line = Line {
        display_name: display_name.to_owned(),
        ..Line::bootstrap(mac, Secret::new("x"))
    };
    own(family, &site, &line)
}
