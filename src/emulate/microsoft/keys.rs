//! The keys that sign ID tokens. There are two, so that one can take the place of the other; all emulators of a program share
//! them, for making one takes its time.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::sync::LazyLock;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::RSAPublicKey;

static KEYS: [LazyLock<RsaKeyPair>; 2] = [LazyLock::new(made), LazyLock::new(made)];

fn made() -> RsaKeyPair {
    RsaKeyPair::generate(KeySize::Rsa2048).expect("the system has randomness")
}

fn key(second: bool) -> &'static RsaKeyPair {
    &KEYS[usize::from(second)]
}

fn name(second: bool) -> String {
    format!("emulated-{}", u8::from(second) + 1)
}

/// One of them as it is published.
pub(super) fn published(second: bool) -> Value {
    let der = key(second).public_key().as_ref();
    let (_, public) = RSAPublicKey::from_der(der).expect("a public key has its DER form");
    let number = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        BASE64_URL_SAFE_NO_PAD.encode(&bytes[zeros..])
    };
    json!({ "keys": [{
        "kty": "RSA", "use": "sig", "kid": name(second), "n": number(public.modulus), "e": number(public.exponent),
    }] })
}

/// An ID token that says this. `forged`: it names that key, and the other one signs it.
pub(super) fn signed(second: bool, forged: bool, claims: &Value) -> String {
    let header = json!({ "alg": "RS256", "typ": "JWT", "kid": name(second) });
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(&header), part(claims));
    let key = key(second != forged);
    let mut signature = vec![0; key.public_modulus_len()];
    let random = SystemRandom::new();
    key.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature)
        .expect("there is room for the signature");
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}
