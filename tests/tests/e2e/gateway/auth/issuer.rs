//! An issuer of tokens: its keys, what it signs, and an address where its public keys are.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Signs with ES256.
pub(crate) struct Issuer {
    name: &'static str,
    keys: KeyPair,
}

impl Issuer {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, keys: KeyPair::generate().unwrap() }
    }

    /// Its public key, as a document has it.
    pub(crate) fn jwks(&self) -> String {
        let point = self.keys.public_key_raw();
        let (x, y) = point.get(1..).unwrap().split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        json!({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "k1", "x": x, "y": y}]})
            .to_string()
    }

    /// A token with what every good one has, and `claims` over it; `null` takes a claim out.
    pub(crate) fn token(&self, claims: Value) -> String {
        let mut all =
            json!({"iss": self.name, "aud": "trading", "sub": "carol", "exp": now() + 600});
        let object = all.as_object_mut().unwrap();
        object.extend(claims.as_object().unwrap().clone());
        object.retain(|_, value| !value.is_null());
        let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::ES256) };
        encode(&header, &all, &EncodingKey::from_ec_der(&self.keys.serialize_der())).unwrap()
    }

    /// The same claims as a good token's, with nobody's signature.
    pub(crate) fn unsigned(&self) -> String {
        let signed = self.token(json!({}));
        let payload = signed.split('.').nth(1).unwrap();
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": "none", "kid": "k1"}).to_string());
        format!("{header}.{payload}.")
    }

    /// Answers every request at the address with the public key.
    #[expect(clippy::disallowed_methods, reason = "an issuer of a test ends with the test")]
    pub(crate) async fn serve(&self, address: SocketAddr) {
        let listener = TcpListener::bind(address).await.unwrap();
        let body = self.jwks();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut request = [0; 4096];
                // A client that goes away is no concern of an issuer.
                if connection.read(&mut request).await.is_ok() {
                    connection.write_all(answer.as_bytes()).await.unwrap_or_default();
                }
            }
        });
    }
}

/// Seconds since the epoch.
pub(crate) fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}
