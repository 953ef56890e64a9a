//! RDS: a route table as Envoy has it; `matched.rs` is the part of a route that says which requests it takes, `action.rs`
//! what happens to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use contract::conversion::CONVERT_HEADER;
use contract::system::{HeaderChanges, HeaderEdits};
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::config::route::v3::redirect_action::{
    RedirectResponseCode, SchemeRewriteSpecifier,
};
use envoy_types::pb::envoy::config::route::v3::route::Action as RouteActionSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::{
    RedirectAction, Route, RouteAction, RouteConfiguration, RouteMatch,
    VirtualHost as EnvoyVirtualHost, route_match::PathSpecifier,
};
use envoy_types::pb::google::protobuf::{Any, UInt32Value};
use prost::{Message, Name};

use crate::mesh::hops::HOPS;
use crate::mesh::{
    Action, CALLER_SERVICE, CALLER_SYSTEM, Caller, FORWARDED_PREFIX, RouteRule, RouteTable,
    VirtualHost,
};
use crate::xds::build::{duration, encoded, filters, no, number, tracing};
use crate::xds::resources::{Encoded, ResourceName, ResourceType};

mod action;
mod matched;

/// What Envoy takes as a body of its own unless a table says more.
const DEFAULT_BODY: usize = 4096;

/// A route table.
pub fn routes(table: &RouteTable) -> Arc<Encoded> {
    let message = RouteConfiguration {
        name: table.name.to_owned(),
        ignore_port_in_host_matching: true,
        request_headers_to_remove: table.strips.iter().map(|name| (*name).to_owned()).collect(),
        request_headers_to_add: table
            .hop
            .iter()
            .map(|hop| set_header(HOPS, &hop.value()))
            .collect(),
        // The table's removals come first, so that a route can write what clients may not.
        most_specific_header_mutations_wins: true,
        // Clusters arrive before the routes that name them; Envoy need not refuse a table over one of them.
        validate_clusters: no(),
        max_direct_response_body_size_bytes: largest_page(table),
        ..Default::default()
    };
    let clusters: BTreeSet<ResourceName> =
        table.targets().iter().map(|target| target.to_string().into()).collect();
    let clusters = clusters.into_iter().collect();
    let hosts = Hosts { virtual_hosts: table.hosts.iter().map(virtual_host).collect() };
    let any = Any { type_url: RouteConfiguration::type_url(), value: joined(&message, &hosts) };
    let rules = table.hosts.iter().flat_map(|host| &host.routes);
    let asked = rules.filter_map(|rule| rule.admission.token_requirement());
    Arc::new(Encoded {
        requirements: asked.map(|asked| asked.to_string().into()).collect(),
        ..encoded(ResourceType::Routes, table.name.into(), &any, clusters)
    })
}

/// The table of a sidecar's inbound listener: everything goes to the application.
pub(super) fn inbound(name: &str, cluster: String) -> RouteConfiguration {
    let action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster)),
        // The caller's route has the limit.
        timeout: Some(duration(Duration::ZERO)),
        ..Default::default()
    };
    everything(name, RouteActionSpecifier::Route(action))
}

fn everything(name: &str, action: RouteActionSpecifier) -> RouteConfiguration {
    RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: vec![EnvoyVirtualHost {
            name: "all".to_owned(),
            domains: vec!["*".to_owned()],
            routes: vec![Route {
                r#match: Some(RouteMatch {
                    path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
                    ..Default::default()
                }),
                action: Some(action),
                ..Default::default()
            }],
            ..Default::default()
        }],
        validate_clusters: no(),
        ..Default::default()
    }
}

/// The table of a Router's plain port when it has an encrypted one: every request is sent there, method and body kept.
pub(super) fn to_https(name: &str, port: u16) -> RouteConfiguration {
    let redirect = RedirectAction {
        scheme_rewrite_specifier: Some(SchemeRewriteSpecifier::HttpsRedirect(true)),
        port_redirect: port.into(),
        response_code: RedirectResponseCode::PermanentRedirect.into(),
        ..Default::default()
    };
    everything(name, RouteActionSpecifier::Redirect(redirect))
}

fn virtual_host(host: &VirtualHost) -> Vec<u8> {
    let message = EnvoyVirtualHost {
        name: host.name.clone(),
        domains: host.domains.clone(),
        request_headers_to_add: host.names_caller.as_ref().map(caller_headers).unwrap_or_default(),
        ..Default::default()
    };
    joined(&message, &Routes { routes: host.routes.iter().map(route).collect() })
}

/// `RouteConfiguration`'s hosts, encoded.
#[derive(Clone, PartialEq, Message)]
struct Hosts {
    #[prost(bytes = "vec", repeated, tag = "2")]
    virtual_hosts: Vec<Vec<u8>>,
}

/// `VirtualHost`'s routes, encoded.
#[derive(Clone, PartialEq, Message)]
struct Routes {
    #[prost(bytes = "vec", repeated, tag = "3")]
    routes: Vec<Vec<u8>>,
}

/// A `Route`'s settings for filters, in order: envoy-types' map is a hash map, whose bytes differ from run to run.
#[derive(Clone, PartialEq, Message)]
struct FilterSettings {
    #[prost(btree_map = "string, message", tag = "13")]
    typed_per_filter_config: BTreeMap<String, Any>,
}

/// One message's fields after the other's: protobuf's fields may come in any order.
fn joined(one: &impl Message, other: &impl Message) -> Vec<u8> {
    let mut bytes = one.encode_to_vec();
    bytes.extend(other.encode_to_vec());
    bytes
}

fn caller_headers(caller: &Caller) -> Vec<HeaderValueOption> {
    vec![
        set_header(CALLER_SYSTEM, caller.system.as_str()),
        set_header(CALLER_SERVICE, &caller.service),
    ]
}

fn set_header(name: &str, value: &str) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue {
            key: name.to_owned(),
            value: value.to_owned(),
            ..Default::default()
        }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..Default::default()
    }
}

fn route(rule: &RouteRule) -> Vec<u8> {
    let HeaderChanges { request, response } = &rule.treatment.headers;
    let (asked, removed) = header_edits(request.as_ref());
    let (mut answered, taken_out) = header_edits(response.as_ref());
    let action = match &rule.action {
        Action::Forward(forward) => RouteActionSpecifier::Route(action::forward(forward)),
        Action::Answer { status, body } => action::answer(*status, body),
        Action::Page { status, body, content_type } => {
            if !body.is_empty() {
                answered.insert(0, set_header("content-type", content_type));
            }
            action::answer(*status, body)
        }
        Action::Redirect { status, host, path } => {
            action::redirect(*status, host.as_ref(), path.as_ref())
        }
    };
    let message = Route {
        r#match: Some(matched::requests(&rule.requests)),
        action: Some(action),
        request_headers_to_add: told(&rule.action).into_iter().chain(asked).collect(),
        request_headers_to_remove: removed,
        response_headers_to_add: answered,
        response_headers_to_remove: taken_out,
        metadata: filters::refusals::metadata(rule),
        tracing: rule.treatment.traced.map(tracing::of_route),
        ..Default::default()
    };
    joined(&message, &FilterSettings { typed_per_filter_config: filters::of_rule(rule) })
}

/// The largest answer of the gateway's own; `None`: Envoy's default is enough.
fn largest_page(table: &RouteTable) -> Option<UInt32Value> {
    let bodies = table.hosts.iter().flat_map(|host| &host.routes).map(|rule| match &rule.action {
        Action::Page { body, .. } | Action::Answer { body, .. } => body.len(),
        Action::Forward(_) | Action::Redirect { .. } => 0,
    });
    let largest = bodies.max().filter(|largest| *largest > DEFAULT_BODY)?;
    number(u32::try_from(largest).unwrap_or(u32::MAX))
}

/// Headers to set or to add, and those to take out.
fn header_edits(edits: Option<&HeaderEdits>) -> (Vec<HeaderValueOption>, Vec<String>) {
    let Some(HeaderEdits { set, add, remove }) = edits else { return Default::default() };
    // Envoy would read a percent sign as the beginning of a command.
    let value = |text: &str| text.replace('%', "%%");
    let set = set.iter().map(|(name, text)| set_header(name, &value(text)));
    let add = add.iter().map(|(name, text)| HeaderValueOption {
        append_action: HeaderAppendAction::AppendIfExistsOrAdd.into(),
        ..set_header(name, &value(text))
    });
    (set.chain(add).collect(), remove.clone())
}

/// What the next hop is told by headers.
fn told(action: &Action) -> Vec<HeaderValueOption> {
    let Action::Forward(forward) = action else { return vec![] };
    let stripped = forward.stripped.as_ref();
    let prefix = stripped.map(|prefix| set_header(FORWARDED_PREFIX, prefix));
    let conversion = forward.conversion.as_ref();
    let conversion = conversion.map(|what| set_header(CONVERT_HEADER, &what.to_string()));
    prefix.into_iter().chain(conversion).collect()
}
