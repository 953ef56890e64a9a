//! What a gateway's Envoy tells the application behind it, request by request.
//!
//! The control plane writes these values into routes, Envoy hands them on, the `api-gateway` application reads them.
//! A request carries what its route says, so that the application needs no table that could be older or newer than
//! Envoy's routes ([0009](../../../docs/decisions/0009-routes-carry-their-context.md)).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::api::RouteView;
use crate::conversion::Conversion;
use crate::name::SystemName;

mod admission;

pub use admission::{Proof, RouteAdmission, Way};

/// The header that tells services who called: the owner of a key, or the claim that names a token's consumer.
pub const CONSUMER_HEADER: &str = "x-mesh-consumer";
/// The header that tells services by which of the System's ways the caller proved it.
pub const AUTH_HEADER: &str = "x-mesh-auth";

/// The host name under which the application finds what its gateway itself says, through the gateway's egress listener.
pub const MESH_HOST: &str = "mesh";
/// The path at that host which answers [`GatewayRoutes`] as JSON.
pub const ROUTES_PATH: &str = "/.well-known/mesh/routes";

/// What a System exposes, to whom, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayRoutes {
    /// The System.
    pub system: SystemName,
    /// In the order of matching.
    pub routes: Vec<RouteView>,
    /// Every conversion of these routes once, sorted.
    pub conversions: Vec<Conversion>,
    /// Where the Router's clients reach it, as references without a scheme: `//trading.example.com`, `/trading`.
    #[serde(default)]
    pub servers: Vec<String>,
    /// The System's ways to prove who calls.
    #[serde(default)]
    pub ways: BTreeMap<String, AuthWay>,
    /// The routes that convert, in the order in which they are matched.
    #[serde(default)]
    pub rest: Vec<RestRoute>,
}

/// How a caller proves who it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthWay {
    /// A token as `Authorization: Bearer`.
    Bearer,
    /// A key or a token in a header of its own.
    ApiKey {
        /// The header's name.
        header: String,
    },
}

/// A route that converts, as far as its description needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestRoute {
    /// What it converts.
    pub conversion: Conversion,
    /// The path prefix that it matches.
    pub prefix: String,
    /// What the prefix becomes before the request is converted; absent: it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<String>,
    /// Names of the ways of which one suffices; empty: nobody has to prove anything.
    pub auth: Vec<String>,
}
