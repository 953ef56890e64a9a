//! What `meshctl apply` says of key sets, held against what a real Envoy says.

use contract::document;
use lab::parts;
use lab::process::{self, Program};
use serde_json::json;

const FILTERS: &str = "type.googleapis.com/envoy.extensions.filters.http";
const MANAGER: &str = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// A key set, whether `apply` takes it, and whether Envoy does. `@N` is an odd number of 2048 bits.
const SETS: [(&str, bool, bool); 16] = [
    (r#"{"keys": [{"kty": "RSA", "n": "@N", "e": "AQAB"}]}"#, true, true),
    (
        r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
        true,
        true,
    ),
    (
        r#"{"keys": [{"kty": "RSA", "alg": "RSA-OAEP", "n": "@N", "e": "AQAB"}, {"kty": "RSA", "n": "@N", "e": "AQAB"}]}"#,
        true,
        true,
    ),
    ("{", false, false),
    ("[]", false, false),
    (r#"{"keys": []}"#, false, false),
    (r#"{"keys": [{}]}"#, false, false),
    (r#"{"keys": [{"kty": "DSA"}]}"#, false, false),
    (r#"{"keys": [{"kty": "RSA", "e": "AQAB"}]}"#, false, false),
    (r#"{"keys": [{"kty": "RSA", "n": "@N"}]}"#, false, false),
    (r#"{"keys": [{"kty": "RSA", "n": "0v+/", "e": "AQAB"}]}"#, false, false),
    (r#"{"keys": [{"kty": "RSA", "alg": "HS256", "n": "@N", "e": "AQAB"}]}"#, false, false),
    (r#"{"keys": [{"kty": "EC", "crv": "P-192", "x": "AQAB", "y": "AQAB"}]}"#, false, false),
    (r#"{"keys": [{"kty": "RSA", "n": "0vx7agoebGcQ", "e": "AQAB"}]}"#, false, false),
    (r#"{"keys": [{"kty": "RSA", "n": "@N", "e": "AQ"}]}"#, false, false),
    // A shared secret: whoever reads the document could sign.
    (r#"{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}"#, false, true),
];

fn bootstrap(set: &str) -> String {
    let provider = json!({"issuer": "me", "local_jwks": {"inline_string": set}});
    let tokens = json!({"@type": format!("{FILTERS}.jwt_authn.v3.JwtAuthentication"), "providers": {"a": provider}});
    let router = json!({"@type": format!("{FILTERS}.router.v3.Router")});
    let manager = json!({
        "@type": MANAGER,
        "stat_prefix": "a",
        "route_config": {},
        "http_filters": [{"name": "tokens", "typed_config": tokens}, {"name": "router", "typed_config": router}],
    });
    let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
    let filters = json!([{"name": "manager", "typed_config": manager}]);
    json!({"static_resources": {"listeners": [{"name": "a", "address": address, "filter_chains": [{"filters": filters}]}]}})
        .to_string()
}

#[tokio::test]
async fn a_key_set_that_envoy_would_refuse_is_refused_before_it_gets_there() {
    let test = "a_key_set_that_envoy_would_refuse_is_refused_before_it_gets_there";
    let Some(envoy) = parts::real_part_or_skip(test, "envoy") else { return };
    for (set, expected, expected_of_envoy) in SETS {
        let set = set.replace("@N", &("v".repeat(341) + "w"));
        let document = format!(
            "kind: System\nname: trading\nauth: {{a: {{jwt: {{issuer: me, jwks: {{inline: '{set}'}}}}}}}}\n"
        );
        let is_taken = document::parse(&document, None).is_ok();
        let validate = Program::new("envoy", &envoy)
            .args(["--mode", "validate", "--log-level", "error", "--config-yaml"])
            .args([bootstrap(&set)]);
        let said = process::run(&validate).await;
        let of_envoy = said.is_ok();
        assert_eq!((is_taken, of_envoy), (expected, expected_of_envoy), "{set}: {said:?}");
    }
}
