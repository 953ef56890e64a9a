//! What the Router says of its clients, in place of what they say of themselves.
//!
//! In: how many proxies before the Router are trusted. Out: the filter that stands first where clients connect.
//!
//! **Invariants**: services see one address in `x-forwarded-for`, the client's, whatever number of proxies is trusted;
//! `x-forwarded-prefix` and the mesh's own headers are what the mesh says.

use contract::conversion::CONVERT_HEADER;
use contract::gateway::{AUTH_HEADER, CONSUMER_HEADER};
use envoy_types::pb::envoy::config::common::mutation_rules::v3::header_mutation::Action;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::extensions::filters::http::header_mutation::v3::HeaderMutation;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;

use super::identity;
use crate::mesh::hops::HOPS;
use crate::mesh::{CALLER_SERVICE, CALLER_SYSTEM, FORWARDED_PREFIX};

/// What no client says and no proxy before the Router either.
const OURS: [&str; 7] = [
    CALLER_SYSTEM,
    CALLER_SERVICE,
    CONSUMER_HEADER,
    AUTH_HEADER,
    CONVERT_HEADER,
    HOPS,
    FORWARDED_PREFIX,
];
/// What a proxy that clients pass first may say, but no client.
const OF_PROXIES: [&str; 4] = ["forwarded", "x-forwarded-port", "x-forwarded-server", "x-real-ip"];
const FORWARDED_HOST: &str = "x-forwarded-host";
/// The address that Envoy takes for the client's: of the connection, or what the last trusted proxy saw.
const CLIENT: &str = "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%";

/// Envoy has set `x-forwarded-proto` by then, and appended to `x-forwarded-for`, which is made one address here.
pub(super) fn filter(trusted_hops: u32) -> HttpFilter {
    let (foreign, host) = match trusted_hops {
        0 => (&OF_PROXIES[..], HeaderAppendAction::OverwriteIfExistsOrAdd),
        _ => (&[][..], HeaderAppendAction::AddIfAbsent),
    };
    let said = [
        set("x-forwarded-for", CLIENT, HeaderAppendAction::OverwriteIfExistsOrAdd),
        set(FORWARDED_HOST, "%REQ(:AUTHORITY)%", host),
    ];
    let removals = identity::removals(OURS.iter().chain(foreign).copied());
    let mutations = identity::mutations(removals.chain(said));
    let config = HeaderMutation { mutations: Some(mutations), ..Default::default() };
    super::filter("mesh.clients", &config)
}

fn set(name: &str, value: &str, append_action: HeaderAppendAction) -> Action {
    let header =
        HeaderValue { key: name.to_owned(), value: value.to_owned(), ..Default::default() };
    Action::Append(HeaderValueOption {
        header: Some(header),
        append_action: append_action.into(),
        ..Default::default()
    })
}
