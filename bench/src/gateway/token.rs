//! What callers prove who they are with: a signed token and its issuer's keys, an API key and its record.

use std::time::UNIX_EPOCH;

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contract::keys::{Key, KeyRecord};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde_json::json;

/// Who issues the token.
pub(super) const ISSUER: &str = "https://id.example.com";
/// Whom it is for.
pub(super) const AUDIENCE: &str = "bench";
const HOUR: u64 = 3600;

/// A token that is good for an hour, signed with ES256, and the keys that prove it (JWKS).
///
/// # Errors
/// There is no randomness, or nothing can be signed with it.
pub(super) fn token() -> anyhow::Result<(String, String)> {
    let keys = KeyPair::generate().context("cannot make a key pair")?;
    // An uncompressed point: a byte that says so, and two halves.
    let point = keys.public_key_raw().get(1..).unwrap_or_default();
    let (x, y) = point.split_at_checked(32).context("the public key is no point")?;
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let key = json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "k1", "x": x, "y": y});
    let claims = json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "carol", "exp": now()? + HOUR});
    let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::ES256) };
    let token = encode(&header, &claims, &EncodingKey::from_ec_der(&keys.serialize_der()))
        .context("cannot sign a token")?;
    Ok((token, json!({"keys": [key]}).to_string()))
}

/// An API key and the record of it.
///
/// # Errors
/// There is no randomness.
pub(super) fn key() -> anyhow::Result<(Key, KeyRecord)> {
    let key = Key::generate(getrandom::fill)?;
    let mut salt = [0; 16];
    getrandom::fill(&mut salt)?;
    let record = KeyRecord::new(&key, salt, "acme".to_owned(), now()?);
    Ok((key, record))
}

fn now() -> anyhow::Result<u64> {
    Ok(UNIX_EPOCH.elapsed().context("the clock is before 1970")?.as_secs())
}
