//! What the parts of the mesh say to each other (design, chapter 3), as types.
//!
//! In: strings from Consul, YAML from operators, JSON from Envoy's node metadata.
//! Out: parsed values, or a reason a person can act on.
//! Used by the control plane, `meshctl` and the lab; it does no IO and knows neither Envoy nor Consul's HTTP API.
//!
//! **Invariants**: parsing happens here, once; what has one of these types is valid.

pub mod api;
pub mod conversion;
pub mod document;
pub mod duration;
pub mod gateway;
pub mod keys;
pub mod name;
pub mod node;
pub mod registration;
pub mod schema;
pub mod system;
pub mod upstreams;
