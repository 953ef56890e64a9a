//! The server's side of the handshake: HELO, PING, PONG.

use rmpv::{Utf8String, Value};
use sha2::{Digest as _, Sha512};

use super::Security;

/// Any will do: the tests are no attackers.
const NONCE: &[u8] = b"0123456789abcdef";

/// `["HELO", {nonce, auth, keepalive}]`
pub(super) fn helo(keepalive: bool) -> Vec<u8> {
    let options = vec![
        (Value::from("nonce"), Value::Binary(NONCE.to_vec())),
        (Value::from("auth"), Value::from("")),
        (Value::from("keepalive"), Value::from(keepalive)),
    ];
    encode(&Value::Array(vec![Value::from("HELO"), Value::Map(options)]))
}

/// The answer to a PING, and whether the client may go on.
pub(super) fn pong(security: &Security, ping: &Value) -> (Vec<u8>, bool) {
    let word = |index: usize| bytes(ping.as_array().and_then(|all| all.get(index)));
    let (host, salt, proof) = (word(1), word(2), word(3));
    let key = security.shared_key.as_bytes();
    let is_known = proof == digest(&[&salt, &host, NONCE, key]).into_bytes();
    let own_key: &[u8] = if security.lies { b"another key" } else { key };
    let own = digest(&[&salt, security.host.as_bytes(), NONCE, own_key]);
    let reason = if is_known { "" } else { "shared key mismatch" };
    let answer = Value::Array(vec![
        Value::from("PONG"),
        Value::from(is_known),
        Value::from(reason),
        Value::from(security.host.as_str()),
        Value::from(own),
    ]);
    (encode(&answer), is_known)
}

fn bytes(value: Option<&Value>) -> Vec<u8> {
    match value {
        Some(Value::Binary(bytes)) => bytes.clone(),
        Some(Value::String(text)) => Utf8String::as_bytes(text).to_vec(),
        _ => Vec::new(),
    }
}

fn digest(parts: &[&[u8]]) -> String {
    let mut hasher = Sha512::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A value in MessagePack.
pub(super) fn encode(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to memory does not fail.
    rmpv::encode::write_value(&mut bytes, value).ok();
    bytes
}
