//! Verification codes in a real name server: Knot DNS, which takes updates that our key signs and no others.

use crate::process::Running;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;
use tollgate::directory::Secret;
use tollgate::net::zone::{Published, ZoneConfig, ZoneError, ZoneKey, Zones};

const NAME: &str = "contoso.sbc1.tollgate.test";
const BASE: &str = "sbc1.tollgate.test";
const KEY: &[u8] = b"a key of thirty-two bytes, or so";

/// RFC 2136, RFC 8945: a code goes in with the base name's address, another takes its place, both go out; without the right
/// key nothing changes, and what is not there is told by name.
#[tokio::test]
async fn codes_go_into_a_zone_and_out_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = free_address();
    let write =
        |name: &str, text: String| std::fs::write(folder.path().join(name), text).expect("a file");
    write(
        "zone",
        format!(
            "$ORIGIN tollgate.test.\n@ 60 SOA ns hostmaster 1 60 60 60 60\n@ 60 NS ns\nns 60 A 127.0.0.1\n\
             {BASE}. 60 A 192.0.2.1\n*.{BASE}. 60 A 192.0.2.1\n"
        ),
    );
    write(
        "knot.conf",
        format!(
            "server:\n    rundir: .\n    listen: {}@{}\ndatabase:\n    storage: .\n\
             log:\n  - target: stdout\n    any: info\n\
             key:\n  - id: tollgate\n    algorithm: hmac-sha256\n    secret: {}\n\
             acl:\n  - id: updates\n    key: tollgate\n    action: update\n\
             zone:\n  - domain: tollgate.test\n    storage: .\n    file: zone\n    zonefile-sync: -1\n    acl: updates\n",
            address.ip(),
            address.port(),
            BASE64_STANDARD.encode(KEY),
        ),
    );
    let mut knot = Running::start(
        "knot",
        folder.path(),
        Command::new("/usr/sbin/knotd").args(["-c", "knot.conf"]),
    );
    assert!(knot.prints("server started").await, "{}", knot.printed());

    let zones = |name: &str, key: &[u8]| {
        Zones::new(ZoneConfig {
            primary: Some(address),
            key: Some(ZoneKey {
                name: name.to_owned(),
                secret: Secret::new(BASE64_STANDARD.encode(key)),
            }),
            servers: vec![address],
            ttl_s: 60,
            timeout: Duration::from_secs(10),
        })
    };
    let ours = zones("tollgate", KEY);
    let missing = ours.shows(NAME, "MS=ms1").await;
    assert!(
        matches!(missing, Err(ZoneError::Missing { .. })),
        "{missing:?}"
    );
    for stranger in [zones("tollgate", b"another key"), zones("stranger", KEY)] {
        let refused = stranger.publish(NAME, "MS=ms1", BASE).await;
        assert!(
            matches!(refused, Err(ZoneError::Refused(..))),
            "{refused:?}"
        );
    }
    for text in ["MS=ms1", "MS=ms2"] {
        assert_eq!(ours.publish(NAME, text, BASE).await, Ok(Published::Updated));
        assert_eq!(ours.shows(NAME, text).await, Ok(()));
    }
    assert!(
        ours.shows(NAME, "MS=ms1").await.is_err(),
        "one code, not two"
    );
    let other = ours
        .publish("contoso.elsewhere.example", "MS=ms1", BASE)
        .await;
    assert!(other.is_err(), "{other:?}");
    assert_eq!(ours.withdraw(NAME).await, Ok(Published::Updated));
    assert!(ours.shows(NAME, "MS=ms2").await.is_err());
}

/// One that was free a moment ago.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address")
}
