//! Tokens of the demo's identity provider, which is this file: a key that everybody knows.
//!
//! In: what a token is to say. Out: the token. Called by `meshctl demo token` and by the demo's own checks.
//!
//! **Invariants**: the demo's documents are the only ones that name this key; it proves nothing to anyone else.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;

use crate::LabError;

/// Who issues the demo's tokens.
pub const ISSUER: &str = "https://id.example.com";
/// Whom they are for.
pub const AUDIENCE: &str = "trading";
/// The public key, as a document has it.
pub const JWKS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","kid":"demo","x":"-kFCY7uW8H4_cc3_8Zm7w9-maaUNYp-oIX9a0sGDTm8"}]}"#;

/// The private key in the form of PKCS#8: a prefix that says Ed25519, then 32 bytes.
const PREFIX: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
const SEED: &[u8; 32] = b"ayatori demo: everybody knows it";

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Who calls (`sub`).
    pub subject: String,
    /// For whom it is (`aud`).
    pub audience: String,
    /// What the caller may do (`scope`), words with spaces between.
    pub scope: String,
    /// How long it is good.
    pub lifetime: Duration,
}

#[derive(Serialize)]
struct Payload<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'a str,
    iat: u64,
    exp: u64,
}

/// A signed token, good from now on.
///
/// # Errors
/// When the key is refused, which a test excludes.
pub fn mint(claims: &Claims) -> Result<String, LabError> {
    let iat = now();
    let payload = Payload {
        iss: ISSUER,
        sub: &claims.subject,
        aud: &claims.audience,
        scope: &claims.scope,
        iat,
        exp: iat.saturating_add(claims.lifetime.as_secs()),
    };
    let header = Header { kid: Some("demo".to_owned()), ..Header::new(Algorithm::EdDSA) };
    let key = EncodingKey::from_ed_der(&[&PREFIX[..], SEED].concat());
    encode(&header, &payload, &key).map_err(|error| LabError::Request {
        request: "sign a token".to_owned(),
        source: Box::new(error),
    })
}

#[expect(clippy::disallowed_methods, reason = "a token says when it was made")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::jwk::JwkSet;
    use jsonwebtoken::{DecodingKey, Validation, decode};
    use serde_json::Value;

    #[test]
    fn a_minted_token_fits_the_key_in_the_documents() {
        let claims = Claims {
            subject: "alice".to_owned(),
            audience: AUDIENCE.to_owned(),
            scope: "orders:read".to_owned(),
            lifetime: Duration::from_secs(60),
        };
        let token = mint(&claims).unwrap();
        let keys: JwkSet = serde_json::from_str(JWKS).unwrap();
        let key = DecodingKey::from_jwk(keys.find("demo").unwrap()).unwrap();
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[ISSUER]);
        let read = decode::<Value>(&token, &key, &validation).unwrap().claims;
        assert_eq!(read.get("sub"), Some(&Value::from("alice")));
        assert_eq!(read.get("scope"), Some(&Value::from("orders:read")));
    }
}
