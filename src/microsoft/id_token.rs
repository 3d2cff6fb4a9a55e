//! ID tokens: JSON Web Tokens (RFC 7519) that are signed with RS256 (RFC 7518 §3.3), the algorithm that every OpenID provider
//! has (OpenID Connect Core 1.0 §15.1). No other one is known here, so none can be chosen by whoever sends a token.

use super::login::GLOBAL_ADMINISTRATOR;
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use subtle::ConstantTimeEq;
use time::OffsetDateTime;
use uuid::Uuid;

/// Stands in the issuer of providers for many tenants, in place of each one's id.
pub(super) const TENANT: &str = "{tenantid}";
/// The longest token that is read.
const LONGEST: usize = 64 << 10;
/// Keys of a provider that are kept.
const MOST_KEYS: usize = 64;
/// How far the provider's clock may be from ours, in seconds.
const LEEWAY: i64 = 120;

/// Who signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Their tenant, where the provider has such.
    pub tenant_id: Option<Uuid>,
    /// Who they are there, for ever: Microsoft's object id, or what else the provider says.
    pub subject: String,
    /// Their name to sign in, which can change.
    pub name: Option<String>,
    /// Whether they administer their whole tenant.
    pub global_administrator: bool,
}

/// Why a token is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// It is no such token, or lacks what it must say.
    #[error("it cannot be read")]
    Malformed,
    /// It is signed in a way that is not known here, or not at all.
    #[error("it is not signed with RS256")]
    Algorithm,
    /// The provider publishes no such key.
    #[error("the provider does not publish its key")]
    Key,
    /// The key did not sign it.
    #[error("its signature is wrong")]
    Signature,
    /// Another provider issued it.
    #[error("another provider issued it")]
    Issuer,
    /// It is for another application.
    #[error("it is for another application")]
    Audience,
    /// It answers another question.
    #[error("it answers another question")]
    Nonce,
    /// Its time is over, or has not come.
    #[error("its time is over, or has not come")]
    Time,
}

/// What a token must agree with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    /// Perhaps with [`TENANT`] in it.
    pub issuer: &'a str,
    pub client_id: &'a str,
    pub nonce: &'a str,
    pub now: OffsetDateTime,
}

/// A key of the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    id: Option<String>,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

/// RFC 7517 §5.
#[derive(Debug, Deserialize)]
pub(super) struct KeySet {
    keys: Vec<Value>,
}

/// A token that was taken apart, and not yet believed.
#[derive(Debug)]
pub(super) struct IdToken<'a> {
    key_id: Option<String>,
    signed: &'a str,
    signature: Vec<u8>,
    claims: Claims,
}

#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    azp: Option<String>,
    exp: i64,
    iat: i64,
    nbf: Option<i64>,
    nonce: Option<String>,
    sub: String,
    tid: Option<Uuid>,
    oid: Option<Uuid>,
    preferred_username: Option<String>,
    email: Option<String>,
    #[serde(default)]
    wids: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Those of a set that can be used; what is not understood is left alone (RFC 7517 §5).
pub(super) fn keys(set: KeySet) -> Vec<Key> {
    #[derive(Deserialize)]
    struct Jwk {
        kty: String,
        #[serde(rename = "use")]
        purpose: Option<String>,
        kid: Option<String>,
        n: String,
        e: String,
    }
    let number = |text: &str| {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Some(bytes[zeros..].to_vec())
    };
    let key = |value: Value| {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let is_for_us = jwk.kty == "RSA" && jwk.purpose.is_none_or(|purpose| purpose == "sig");
        let key = Key {
            id: jwk.kid,
            modulus: number(&jwk.n)?,
            exponent: number(&jwk.e)?,
        };
        is_for_us.then_some(key)
    };
    set.keys
        .into_iter()
        .filter_map(key)
        .take(MOST_KEYS)
        .collect()
}

impl<'a> IdToken<'a> {
    /// Takes a token apart. Nothing of it is believed before [`person`](Self::person).
    pub fn read(text: &'a str) -> Result<Self, TokenFault> {
        #[derive(Deserialize)]
        struct Header {
            alg: String,
            kid: Option<String>,
            /// What must be understood (RFC 7515 §4.1.11): nothing of it is.
            crit: Option<Value>,
        }
        if text.len() > LONGEST {
            return Err(TokenFault::Malformed);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(TokenFault::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenFault::Malformed)?;
        let header: Header = json(header)?;
        if header.alg != "RS256" || header.crit.is_some() {
            return Err(TokenFault::Algorithm);
        }
        Ok(Self {
            key_id: header.kid,
            signed,
            signature: bytes(signature)?,
            claims: json(claims)?,
        })
    }

    /// The key that signed it, as it says.
    pub fn key<'k>(&self, keys: &'k [Key]) -> Option<&'k Key> {
        match (&self.key_id, keys) {
            (Some(_), _) => keys.iter().find(|key| key.id == self.key_id),
            // A provider with one key need not name it.
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }

    /// Who it says signed in, if all of it is to be believed (OpenID Connect Core 1.0 §3.1.3.7).
    pub fn person(self, keys: &[Key], expected: &Expected<'_>) -> Result<Person, TokenFault> {
        let key = self.key(keys).ok_or(TokenFault::Key)?;
        let public = RsaPublicKeyComponents {
            n: &key.modulus,
            e: &key.exponent,
        };
        let parameters = &RSA_PKCS1_2048_8192_SHA256;
        public
            .verify(parameters, self.signed.as_bytes(), &self.signature)
            .map_err(|_| TokenFault::Signature)?;
        self.claims.check(expected)?;
        Ok(self.claims.person())
    }
}

fn bytes(part: &str) -> Result<Vec<u8>, TokenFault> {
    BASE64_URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenFault::Malformed)
}

fn json<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, TokenFault> {
    serde_json::from_slice(&bytes(part)?).map_err(|_| TokenFault::Malformed)
}

impl Claims {
    fn check(&self, expected: &Expected<'_>) -> Result<(), TokenFault> {
        if self.iss != self.issuer(expected.issuer)? {
            return Err(TokenFault::Issuer);
        }
        let (is_ours, is_alone) = match &self.aud {
            Audience::One(one) => (one == expected.client_id, true),
            Audience::Many(many) => (
                many.iter().any(|one| one == expected.client_id),
                many.len() == 1,
            ),
        };
        let is_party = match &self.azp {
            Some(party) => party == expected.client_id,
            None => is_alone,
        };
        if !is_ours || !is_party {
            return Err(TokenFault::Audience);
        }
        let nonce = self.nonce.as_deref().unwrap_or_default();
        if !bool::from(nonce.as_bytes().ct_eq(expected.nonce.as_bytes())) {
            return Err(TokenFault::Nonce);
        }
        let now = expected.now.unix_timestamp();
        let from = self.iat.max(self.nbf.unwrap_or(i64::MIN));
        let is_in_time =
            now < self.exp.saturating_add(LEEWAY) && from.saturating_sub(LEEWAY) <= now;
        is_in_time.then_some(()).ok_or(TokenFault::Time)
    }

    /// The provider's name, for the tenant that the token names if it is for many.
    fn issuer(&self, issuer: &str) -> Result<String, TokenFault> {
        match (issuer.contains(TENANT), self.tid) {
            (false, _) => Ok(issuer.to_owned()),
            (true, Some(tenant)) => Ok(issuer.replace(TENANT, &tenant.to_string())),
            (true, None) => Err(TokenFault::Issuer),
        }
    }

    fn person(self) -> Person {
        // A provider speaks for the tenant that its own name holds, and for no other.
        let tenant_id = self
            .tid
            .filter(|tenant| self.iss.split('/').any(|part| part == tenant.to_string()));
        let is_global = |role: &String| role.eq_ignore_ascii_case(GLOBAL_ADMINISTRATOR);
        Person {
            subject: match (tenant_id, self.oid) {
                (Some(_), Some(object)) => object.to_string(),
                _ => self.sub,
            },
            // An address that people can set themselves is good enough to show, not to tell them by.
            name: match tenant_id {
                Some(_) => self.preferred_username,
                None => self.preferred_username.or(self.email),
            },
            global_administrator: tenant_id.is_some() && self.wids.iter().any(is_global),
            tenant_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
    use serde_json::json;
    use std::sync::LazyLock;
    use x509_parser::prelude::FromDer;
    use x509_parser::public_key::RSAPublicKey;

    const TENANT_ID: Uuid = Uuid::from_u128(0x7e4a);
    const NOW: i64 = 1_800_000_000;

    static SIGNER: LazyLock<RsaKeyPair> =
        LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

    fn published() -> Vec<Key> {
        let der = SIGNER.public_key().as_ref();
        let (_, public) = RSAPublicKey::from_der(der).unwrap();
        let [n, e] = [public.modulus, public.exponent].map(|n| BASE64_URL_SAFE_NO_PAD.encode(n));
        let set = json!({ "keys": [
            { "kty": "EC", "kid": "other", "crv": "P-256", "x": "", "y": "" },
            { "kty": "RSA", "use": "enc", "kid": "enc", "n": n, "e": e },
            { "kty": "RSA", "use": "sig", "kid": "k", "n": n, "e": e },
        ] });
        keys(serde_json::from_value(set).unwrap())
    }

    fn signed(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(header), part(claims));
        let mut signature = vec![0; SIGNER.public_modulus_len()];
        let random = SystemRandom::new();
        SIGNER
            .sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature)
            .unwrap();
        format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    fn claims() -> Value {
        json!({
            "iss": format!("https://login.example/{TENANT_ID}/v2.0"), "aud": "ours", "exp": NOW + 3600, "iat": NOW, "nbf": NOW,
            "nonce": "n", "sub": "pairwise", "tid": TENANT_ID, "oid": Uuid::from_u128(9), "wids": [GLOBAL_ADMINISTRATOR],
            "preferred_username": "jo@contoso.example",
        })
    }

    fn believed(text: &str) -> Result<Person, TokenFault> {
        let expected = Expected {
            issuer: "https://login.example/{tenantid}/v2.0",
            client_id: "ours",
            nonce: "n",
            now: OffsetDateTime::from_unix_timestamp(NOW).unwrap(),
        };
        IdToken::read(text)?.person(&published(), &expected)
    }

    /// All of a good token is believed: who, of which tenant, and whether they administer it.
    #[test]
    fn a_good_token_says_who_signed_in() {
        let person = believed(&signed(&json!({ "alg": "RS256", "kid": "k" }), &claims()));
        let expected = Person {
            tenant_id: Some(TENANT_ID),
            subject: Uuid::from_u128(9).to_string(),
            name: Some("jo@contoso.example".into()),
            global_administrator: true,
        };
        assert_eq!(person, Ok(expected));
        let mut plain = claims();
        plain["aud"] = json!(["ours"]);
        plain["wids"] = json!(["other"]);
        // The provider has one key for signatures, so it need not be named.
        let person = believed(&signed(&json!({ "alg": "RS256" }), &plain)).unwrap();
        assert!(!person.global_administrator);
    }

    /// Whatever one thing is wrong, nothing of the token is believed.
    #[test]
    fn nothing_that_is_wrong_is_believed() {
        let good = json!({ "alg": "RS256", "kid": "k" });
        for (claim, value, fault) in [
            (
                "iss",
                json!("https://login.example/other/v2.0"),
                TokenFault::Issuer,
            ),
            ("tid", json!(Uuid::from_u128(1)), TokenFault::Issuer),
            ("tid", Value::Null, TokenFault::Issuer),
            ("aud", json!("theirs"), TokenFault::Audience),
            ("aud", json!(["ours", "theirs"]), TokenFault::Audience),
            ("azp", json!("theirs"), TokenFault::Audience),
            ("nonce", json!("m"), TokenFault::Nonce),
            ("nonce", Value::Null, TokenFault::Nonce),
            ("exp", json!(NOW - LEEWAY), TokenFault::Time),
            ("nbf", json!(NOW + LEEWAY + 1), TokenFault::Time),
            ("iat", json!(NOW + LEEWAY + 1), TokenFault::Time),
            ("exp", Value::Null, TokenFault::Malformed),
            ("sub", Value::Null, TokenFault::Malformed),
        ] {
            let mut wrong = claims();
            wrong[claim] = value;
            assert_eq!(believed(&signed(&good, &wrong)), Err(fault), "{wrong}");
        }
        for (header, fault) in [
            (json!({ "alg": "none" }), TokenFault::Algorithm),
            (json!({ "alg": "HS256", "kid": "k" }), TokenFault::Algorithm),
            (
                json!({ "alg": "RS256", "kid": "k", "crit": ["x"] }),
                TokenFault::Algorithm,
            ),
            (json!({ "alg": "RS256", "kid": "enc" }), TokenFault::Key),
            (json!({ "alg": "RS256", "kid": "other" }), TokenFault::Key),
        ] {
            assert_eq!(
                believed(&signed(&header, &claims())),
                Err(fault),
                "{header}"
            );
        }
        let text = signed(&good, &claims());
        let mut parts: Vec<_> = text.split('.').map(str::to_owned).collect();
        let mut other = claims();
        other["oid"] = json!(Uuid::from_u128(8));
        parts[1] = BASE64_URL_SAFE_NO_PAD.encode(other.to_string());
        assert_eq!(believed(&parts.join(".")), Err(TokenFault::Signature));
        for text in ["", ".", "a.b.c", "e30.e30.", &"x".repeat(LONGEST + 1)] {
            assert_eq!(believed(text), Err(TokenFault::Malformed));
        }
    }
}
