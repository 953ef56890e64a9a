//! Public keys written into a document: whether Envoy could check a token with any of them.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

/// Padding may be there or not, as issuers write it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Checks a key set. Envoy passes over keys that it cannot use, such as those for encryption, and so does this; a set
/// without a usable key it refuses, and the whole listener with it.
///
/// # Errors
/// Why no key is usable.
pub(super) fn check(text: &str) -> Result<(), String> {
    let set: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    let keys = set.get("keys").and_then(Value::as_array).filter(|keys| !keys.is_empty());
    let keys = keys.ok_or("expected a JSON object with a list keys that is not empty")?;
    let mut reasons = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        match key.as_object().ok_or("not an object".to_owned()).and_then(usable) {
            Ok(()) => return Ok(()),
            Err(reason) => reasons.push(format!("keys[{index}]: {reason}")),
        }
    }
    Err(format!("no key that tokens could be checked with: {}", reasons.join("; ")))
}

fn usable(key: &Map<String, Value>) -> Result<(), String> {
    for name in ["kid", "alg"] {
        if key.get(name).is_some_and(|value| !value.is_string()) {
            return Err(format!("{name} is not text"));
        }
    }
    let kind = text(key, "kty")?;
    let alg = key.get("alg").and_then(Value::as_str);
    let fits = |accepted: &[&str]| match alg {
        Some(alg) if !accepted.contains(&alg) => {
            Err(format!("alg {alg} does not belong to a {kind} key for signatures"))
        }
        _ => Ok(()),
    };
    match kind {
        "RSA" => {
            fits(&["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])?;
            let modulus = bytes(key, "n")?;
            let modulus: Vec<u8> = modulus.into_iter().skip_while(|byte| *byte == 0).collect();
            let exponent = bytes(key, "e")?;
            let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
            if !(256..=1024).contains(&modulus.len()) || !is_odd(&modulus) {
                return Err("n is not an odd number of 2048 to 8192 bits".to_owned());
            }
            if !is_odd(&exponent) || exponent == [1] {
                return Err("e is not an odd number above 1".to_owned());
            }
            Ok(())
        }
        "EC" => {
            let (alg, length) = match text(key, "crv")? {
                "P-256" => ("ES256", 32),
                "P-384" => ("ES384", 48),
                "P-521" => ("ES512", 66),
                other => return Err(format!("crv {other} is none of P-256, P-384, P-521")),
            };
            fits(&[alg])?;
            for name in ["x", "y"] {
                if bytes(key, name)?.len() != length {
                    return Err(format!("{name} is not {length} bytes long"));
                }
            }
            Ok(())
        }
        "OKP" => {
            fits(&["EdDSA"])?;
            match text(key, "crv")? {
                "Ed25519" if bytes(key, "x")?.len() == 32 => Ok(()),
                "Ed25519" => Err("x is not 32 bytes long".to_owned()),
                other => Err(format!("crv {other} is not Ed25519")),
            }
        }
        "oct" => Err("a shared secret: whoever reads this document could sign".to_owned()),
        other => Err(format!("kty {other} is none of RSA, EC, OKP")),
    }
}

fn text<'a>(key: &'a Map<String, Value>, name: &str) -> Result<&'a str, String> {
    key.get(name).and_then(Value::as_str).ok_or_else(|| format!("{name} is missing or not text"))
}

fn bytes(key: &Map<String, Value>, name: &str) -> Result<Vec<u8>, String> {
    let bytes = BASE64.decode(text(key, name)?).unwrap_or_default();
    if bytes.is_empty() { Err(format!("{name} is empty or not base64url")) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An odd number of 2048 bits.
    fn modulus() -> String {
        "v".repeat(341) + "w"
    }

    #[test]
    fn a_set_is_usable_when_one_of_its_keys_is() {
        for set in [
            r#"{"keys": [{"kty": "RSA", "n": "@N", "e": "AQAB"}]}"#,
            r#"{"keys": [{"kty": "RSA", "alg": "RSA-OAEP", "n": "@N", "e": "AQAB"}, {"kty": "RSA", "kid": "a", "alg": "PS256", "n": "@N", "e": "AQAB"}]}"#,
            r#"{"keys": [7, {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
        ] {
            assert_eq!(check(&set.replace("@N", &modulus())), Ok(()), "{set}");
        }
    }

    #[test]
    fn a_set_without_a_usable_key_says_why_of_each() {
        let none = "no key that tokens could be checked with: keys[0]: ";
        for (set, reason) in [
            ("{", "not JSON: EOF while parsing an object at line 1 column 1".to_owned()),
            ("[]", "expected a JSON object with a list keys that is not empty".to_owned()),
            (
                r#"{"keys": []}"#,
                "expected a JSON object with a list keys that is not empty".to_owned(),
            ),
            (r#"{"keys": [{}]}"#, format!("{none}kty is missing or not text")),
            (r#"{"keys": [{"kty": "DSA"}]}"#, format!("{none}kty DSA is none of RSA, EC, OKP")),
            (
                r#"{"keys": [{"kty": "RSA", "e": "AQAB"}]}"#,
                format!("{none}n is missing or not text"),
            ),
            (r#"{"keys": [{"kty": "RSA", "n": "@N"}]}"#, format!("{none}e is missing or not text")),
            (
                r#"{"keys": [{"kty": "RSA", "n": "0v+/", "e": "AQAB"}]}"#,
                format!("{none}n is empty or not base64url"),
            ),
            (
                r#"{"keys": [{"kty": "RSA", "kid": 7, "n": "@N", "e": "AQAB"}]}"#,
                format!("{none}kid is not text"),
            ),
            (
                r#"{"keys": [{"kty": "RSA", "alg": "HS256", "n": "@N", "e": "AQAB"}]}"#,
                format!("{none}alg HS256 does not belong to a RSA key for signatures"),
            ),
            (
                r#"{"keys": [{"kty": "RSA", "n": "0vx7", "e": "AQAB"}]}"#,
                format!("{none}n is not an odd number of 2048 to 8192 bits"),
            ),
            (
                r#"{"keys": [{"kty": "RSA", "n": "@N", "e": "AQ"}]}"#,
                format!("{none}e is not an odd number above 1"),
            ),
            (
                r#"{"keys": [{"kty": "EC", "crv": "P-256", "x": "AQAB", "y": "AQAB"}]}"#,
                format!("{none}x is not 32 bytes long"),
            ),
            (
                r#"{"keys": [{"kty": "oct", "k": "c2VjcmV0"}, {"kty": "OKP", "crv": "X25519", "x": "AQAB"}]}"#,
                format!(
                    "{none}a shared secret: whoever reads this document could sign; keys[1]: crv X25519 is not Ed25519"
                ),
            ),
        ] {
            assert_eq!(check(&set.replace("@N", &modulus())), Err(reason), "{set}");
        }
    }
}
