//! HTTP filters: the chain of a listener, and what a route sets for them.
//!
//! | folder's file | filter |
//! |---|---|
//! | `clients.rs` | what the Router says of its clients in place of what they say |
//! | `identity.rs` | removes headers that say who calls from what clients send; writes which way succeeded |
//! | `jwt.rs` | checks tokens |
//! | `authz.rs` | asks the application |
//! | `rbac.rs` | what a token must hold |
//! | `limits.rs` | how often callers may come |
//! | `loops.rs` | which Systems a request has been in, when it is refused for that |
//! | `refusals.rs` | what they say when they refuse |
//!
//! **Invariants**: a filter that only some routes need is in the chain and off; routes turn it on, so that a change of
//! routes changes no listener. What a document's `auth` changes is told apart from the listener (ECDS): a changed
//! listener is a new one to Envoy, and connections stay with the old one, its keys and its rules, for minutes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::common::mutation_rules::v3::{
    HeaderMutation as MutationRule, header_mutation as mutation_rule,
};
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{
    ExtensionConfigSource, HeaderValue, HeaderValueOption, TypedExtensionConfig,
};
use envoy_types::pb::envoy::extensions::filters::http::header_mutation::v3::{
    HeaderMutation, Mutations,
};
use envoy_types::pb::envoy::extensions::filters::http::on_demand::v3::{OnDemand, OnDemandCds};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpFilter, http_filter,
};
use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};

use crate::mesh::{Admission, Checkpoint, Faces, Guard, RouteRule, Target};
use crate::xds::build::listener::Serving;
use crate::xds::build::{cluster, duration, encoded, pack};
use crate::xds::resources::{Encoded, ResourceType};

mod authz;
mod clients;
mod compressor;
mod cors;
mod grpc_web;
mod identity;
mod jwt;
mod limits;
pub(super) mod loops;
mod rbac;
pub(super) mod refusals;

/// How long a request waits for a cluster that the proxy has yet to be told of; answers come within milliseconds.
const DEMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// The filters of a listener, in the order in which a request meets them.
///
/// `is_ingress`: the listener of a gateway to which the Router brings clients.
pub(super) fn chain(serving: &Serving<'_>, is_ingress: bool) -> Vec<HttpFilter> {
    let mut chain: Vec<HttpFilter> =
        serving.checkpoint.map(|_| identity::remove()).into_iter().collect();
    if let Faces::Clients { trusted_hops } = serving.faces {
        chain.push(clients::filter(trusted_hops));
    }
    if is_ingress {
        // Browsers ask before they show who they are.
        chain.push(cors::filter());
    }
    chain.extend(serving.checkpoint.into_iter().flat_map(checks));
    if is_ingress {
        chain.extend(compressor::filters());
        chain.push(grpc_web::filter());
    }
    chain.extend(serving.transport.advertised().map(advertise));
    chain.extend(serving.waits.then(on_demand));
    chain.push(filter("envoy.filters.http.router", &Router::default()));
    chain
}

/// What is checked of what comes from the Router.
fn checks(checkpoint: &Checkpoint) -> impl Iterator<Item = HttpFilter> {
    let tokens = [rbac::one_proof(), jwt::filter()];
    let application = checkpoint.app.as_ref().map(authz::filter);
    let holds = [rbac::filter(), identity::way()];
    tokens.into_iter().chain(application).chain(holds).chain(limits::filters(checkpoint))
}

/// Tells clients that the same is to be had over HTTP/3 (RFC 7838).
fn advertise(port: u16) -> HttpFilter {
    let alternative = HeaderValueOption {
        header: Some(HeaderValue {
            key: "alt-svc".to_owned(),
            value: format!("h3=\":{port}\"; ma=86400"),
            ..Default::default()
        }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..Default::default()
    };
    let config = HeaderMutation {
        mutations: Some(Mutations {
            response_mutations: vec![MutationRule {
                action: Some(mutation_rule::Action::Append(alternative)),
            }],
            ..Default::default()
        }),
        ..Default::default()
    };
    filter("envoy.filters.http.header_mutation", &config)
}

/// What the filters of a listener for the Router are told apart from it.
pub(super) fn extensions(checkpoint: &Checkpoint) -> Vec<Arc<Encoded>> {
    let by_url = checkpoint.tokens.iter().filter(|(_, jwt)| jwt.jwks.url.is_some());
    let issuer = |(way, _): (&String, _)| Target::Issuer(checkpoint.system.clone(), way.clone());
    let issuers = by_url.map(|way| issuer(way).to_string().into()).collect();
    let extension = |(name, config): (&str, Any), clusters| {
        let message = TypedExtensionConfig { name: name.to_owned(), typed_config: Some(config) };
        encoded(ResourceType::Extension, name.into(), &pack(&message), clusters)
    };
    let asked = checkpoint.requirements.iter().map(|asked| asked.to_string().into());
    let tokens =
        Encoded { requirements: asked.collect(), ..extension(jwt::config(checkpoint), issuers) };
    vec![Arc::new(tokens), Arc::new(extension(identity::removed(checkpoint), Arc::from([])))]
}

/// What a route sets for the filters, by the filters' names.
pub(super) fn of_rule(rule: &RouteRule) -> BTreeMap<String, Any> {
    let mut settings = BTreeMap::new();
    settings.extend(rule.treatment.cors.as_ref().map(cors::of_rule));
    if rule.treatment.compress {
        settings.extend(compressor::of_rule());
    }
    if let Admission::Guarded(guard) = &rule.admission {
        let of_guard = of_guard(guard).into_iter();
        settings.extend(of_guard.map(|(name, config)| (name.to_owned(), config)));
    }
    settings
}

/// What a route sets for the filters that check who calls.
fn of_guard(guard: &Guard) -> Vec<(&'static str, Any)> {
    let mut settings = Vec::new();
    if !guard.ways.is_empty() {
        settings.push(rbac::one_proof_of(guard));
    }
    settings.extend(jwt::of(guard));
    if guard.asks_application() {
        settings.push(authz::of(guard));
    } else if !guard.ways.is_empty() {
        settings.push(rbac::of(guard));
        settings.push(identity::way_of_token());
    }
    settings.extend(limits::of(guard));
    settings
}

fn filter<M: Message + Name>(name: &str, config: &M) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(pack(config))),
        ..Default::default()
    }
}

/// A filter that is told apart from its listener; until it is, the listener is not ready.
fn discovered<M: Name>(name: &str) -> HttpFilter {
    let source = ExtensionConfigSource {
        config_source: Some(cluster::ads()),
        type_urls: vec![M::type_url()],
        ..Default::default()
    };
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::ConfigDiscovery(source)),
        ..Default::default()
    }
}

/// A filter that acts on no route but those with a setting for it.
fn off(filter: HttpFilter) -> HttpFilter {
    HttpFilter { disabled: true, ..filter }
}

/// Asks for a request's cluster when the proxy does not have it.
fn on_demand() -> HttpFilter {
    let odcds = OnDemandCds {
        source: Some(cluster::ads()),
        timeout: Some(duration(DEMAND_TIMEOUT)),
        ..Default::default()
    };
    filter("envoy.filters.http.on_demand", &OnDemand { odcds: Some(odcds) })
}
