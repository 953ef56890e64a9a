//! What the demo places: Systems `trading` and `portfolio` with their documents, and `research` without one.

use contract::registration::Protocol;

use crate::LabError;
use crate::parts::Parts;
use crate::placer::ServiceSpec;
use crate::process::{self, Program};
use crate::world::World;

/// The Systems' documents.
pub const DOCUMENTS: [(&str, &str); 2] = [
    (
        "trading",
        r#"kind: System
name: trading
hosts: [trading.example.com]
callers: [portfolio]
auth:
  customers:
    jwt:
      issuer: https://id.example.com
      audiences: [trading]
      jwks: {inline: '{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","kid":"demo","x":"-kFCY7uW8H4_cc3_8Zm7w9-maaUNYp-oIX9a0sGDTm8"}]}'}
  partners: {api_key: {header: x-api-key, keys: mesh/keys/trading}}
default_auth: none
tracing: {percent: 100}
routes:
- {match: {prefix: /v1}, to: quotes, convert: {grpc: [quotes.v1.Quotes]}}
- {match: {prefix: /customers}, to: orders, rewrite: /orders, auth: customers}
- {match: {prefix: /partners}, to: orders, rewrite: /orders, auth: partners}
- {match: {prefix: /orders}, to: orders, timeout: 15s}
- {match: {prefix: /slow}, to: orders, timeout: 15s}
- {match: {prefix: /call}, to: orders, timeout: 15s}
- {match: {path: /ws}, to: orders}
"#,
    ),
    (
        "portfolio",
        "\
kind: System
name: portfolio
hosts: [portfolio.example.com]
callers: []
default_auth: none
tracing: {percent: 100}
",
    ),
];

/// An API key for the System `trading`; `None` without a Consul to keep its hash.
pub async fn api_key(world: &World, parts: &Parts) -> Result<Option<String>, LabError> {
    let Some(consul) = world.consul() else { return Ok(None) };
    let create = Program::new("meshctl keys", &parts.our("meshctl")?)
        .args(["keys", "create", "trading", "--consumer", "acme", "--consul"])
        .args([consul.url()]);
    Ok(Some(process::run(&create).await?.trim().to_owned()))
}

/// One entry for each instance; what has no route in a document has a `mesh_path`.
pub fn services(parts: &Parts) -> Result<Vec<ServiceSpec>, LabError> {
    let orders = ServiceSpec::new("trading", "orders", Protocol::Http, parts.our("orders")?);
    let quotes = ServiceSpec::new("trading", "quotes", Protocol::Grpc, parts.our("quotes")?)
        .with_meta("mesh_path", "/quotes.v1.Quotes");
    let positions =
        ServiceSpec::new("portfolio", "positions", Protocol::Http, parts.our("positions")?)
            .with_meta("mesh_path", "/positions");
    Ok(vec![
        ServiceSpec::api_gateway("trading"),
        ServiceSpec::gateway("portfolio"),
        ServiceSpec::gateway("research"),
        orders.clone(),
        orders,
        quotes.clone(),
        quotes,
        positions.clone(),
        positions,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::token;

    #[test]
    fn the_document_names_the_key_of_the_demo_s_tokens() {
        let [(_, trading), _] = DOCUMENTS;
        assert!(trading.contains(token::JWKS) && trading.contains(token::ISSUER), "{trading}");
    }
}
