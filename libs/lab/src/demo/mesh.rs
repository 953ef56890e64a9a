//! What the demo places: Systems `trading` and `portfolio` with their documents, and `research` without one.

use contract::registration::Protocol;

use crate::LabError;
use crate::parts::Parts;
use crate::placer::ServiceSpec;

/// The Systems' documents.
pub const DOCUMENTS: [(&str, &str); 2] = [
    (
        "trading",
        "\
kind: System
name: trading
hosts: [trading.example.com]
callers: [portfolio]
default_auth: none
routes:
- {match: {prefix: /orders}, to: orders, timeout: 15s}
- {match: {prefix: /slow}, to: orders, timeout: 15s}
- {match: {prefix: /call}, to: orders, timeout: 15s}
- {match: {path: /ws}, to: orders}
",
    ),
    (
        "portfolio",
        "\
kind: System
name: portfolio
hosts: [portfolio.example.com]
callers: []
default_auth: none
",
    ),
];

/// One entry for each instance; what has no route in a document has a `mesh_path`.
pub fn services(parts: &Parts) -> Result<Vec<ServiceSpec>, LabError> {
    let orders = ServiceSpec::new("trading", "orders", Protocol::Http, parts.our("orders")?);
    let quotes = ServiceSpec::new("trading", "quotes", Protocol::Grpc, parts.our("quotes")?)
        .with_meta("mesh_path", "/quotes.v1.Quotes");
    let positions =
        ServiceSpec::new("portfolio", "positions", Protocol::Http, parts.our("positions")?)
            .with_meta("mesh_path", "/positions");
    Ok(vec![
        ServiceSpec::gateway("trading"),
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
