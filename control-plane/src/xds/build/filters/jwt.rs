//! Tokens: one provider for each way of the System's document, one requirement for each choice of its routes.
//!
//! **Invariants**: providers and requirements are maps, so they are encoded in order; an issuer that is away holds up
//! no listener and lets nobody in.

use std::collections::BTreeMap;
use std::time::Duration;

use contract::gateway::{CONSUMER_HEADER, Way};
use contract::name::SystemName;
use contract::system::Jwt;
use envoy_types::pb::envoy::config::core::v3::{
    DataSource, HttpUri, RetryPolicy, data_source, http_uri,
};
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::jwt_provider::{
    JwksSourceSpecifier, NormalizePayload,
};
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::jwt_requirement::RequiresType;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::per_route_config::RequirementSpecifier;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::{
    JwksAsyncFetch, JwtAuthentication, JwtClaimToHeader, JwtHeader, JwtProvider, JwtRequirement,
    JwtRequirementOrList, PerRouteConfig, RemoteJwks,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use envoy_types::pb::google::protobuf::{Any, Empty};
use prost::{Message, Name};

use super::{off, packed};
use crate::mesh::admission::{TokenRequirement, consumer_claim, token_header};
use crate::mesh::{Checkpoint, Guard, Target};
use crate::xds::build::{duration, number, pack};

/// The filter's name, and where it leaves what it found.
pub(super) const NAME: &str = "envoy.filters.http.jwt_authn";
/// How old an issuer's keys may be before they are fetched again.
const CACHE: Duration = Duration::from_secs(300);
/// How long an issuer may take to answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How soon an issuer that did not answer is asked again.
const REFETCH: Duration = Duration::from_secs(1);
const DEFAULT_LEEWAY: Duration = Duration::from_secs(60);

/// The filter of the listener for the Router.
pub(super) fn filter(checkpoint: &Checkpoint) -> HttpFilter {
    let providers = checkpoint
        .tokens
        .iter()
        .map(|(way, jwt)| (way.clone(), provider(&checkpoint.system, way, jwt)))
        .collect();
    let requirements = checkpoint
        .requirements
        .iter()
        .map(|asked| (asked.to_string(), requirement(asked)))
        .collect();
    let maps = OrderedMaps { providers, requirement_map: requirements };
    let mut value =
        JwtAuthentication { bypass_cors_preflight: true, ..Default::default() }.encode_to_vec();
    value.extend(maps.encode_to_vec());
    off(packed(NAME, Any { type_url: JwtAuthentication::type_url(), value }))
}

/// What a route asks of tokens.
pub(super) fn of(guard: &Guard) -> Option<(&'static str, Any)> {
    let name = guard.token_requirement()?.to_string();
    let requirement_specifier = Some(RequirementSpecifier::RequirementName(name));
    Some((NAME, pack(&PerRouteConfig { requirement_specifier })))
}

fn provider(system: &SystemName, way: &str, jwt: &Jwt) -> JwtProvider {
    let header = token_header(jwt);
    let value_prefix = if jwt.header.is_none() { "Bearer " } else { "" };
    let consumer = (consumer_claim(jwt), CONSUMER_HEADER);
    let claims = jwt.claims.iter().map(|(claim, header)| (claim.as_str(), header.as_str()));
    let claim_to_headers =
        std::iter::once(consumer).chain(claims).map(|(claim, header)| JwtClaimToHeader {
            claim_name: claim.to_owned(),
            header_name: header.to_owned(),
            ..Default::default()
        });
    let leeway = jwt.leeway.map_or(DEFAULT_LEEWAY, |leeway| leeway.as_duration());
    JwtProvider {
        issuer: jwt.issuer.clone(),
        audiences: jwt.audiences.clone(),
        require_expiration: true,
        forward: jwt.forward,
        from_headers: vec![JwtHeader {
            name: header.to_owned(),
            value_prefix: value_prefix.to_owned(),
        }],
        payload_in_metadata: way.to_owned(),
        failed_status_in_metadata: Way::refusal(way),
        normalize_payload_in_metadata: Some(NormalizePayload {
            space_delimited_claims: vec!["scope".to_owned()],
        }),
        clock_skew_seconds: u32::try_from(leeway.as_secs()).unwrap_or(u32::MAX),
        claim_to_headers: claim_to_headers.collect(),
        jwks_source_specifier: Some(keys(system, way, jwt)),
        ..Default::default()
    }
}

fn keys(system: &SystemName, way: &str, jwt: &Jwt) -> JwksSourceSpecifier {
    let Some(url) = &jwt.jwks.url else {
        let text = jwt.jwks.inline.clone().unwrap_or_default();
        let specifier = Some(data_source::Specifier::InlineString(text));
        return JwksSourceSpecifier::LocalJwks(DataSource { specifier, ..Default::default() });
    };
    let cluster = Target::Issuer(system.clone(), way.to_owned()).to_string();
    JwksSourceSpecifier::RemoteJwks(RemoteJwks {
        http_uri: Some(HttpUri {
            uri: url.clone(),
            timeout: Some(duration(FETCH_TIMEOUT)),
            http_upstream_type: Some(http_uri::HttpUpstreamType::Cluster(cluster)),
        }),
        cache_duration: Some(duration(CACHE)),
        async_fetch: Some(JwksAsyncFetch {
            fast_listener: true,
            failed_refetch_duration: Some(duration(REFETCH)),
        }),
        retry_policy: Some(RetryPolicy { num_retries: number(1), ..Default::default() }),
    })
}

fn requirement(asked: &TokenRequirement) -> JwtRequirement {
    let one = |requires| JwtRequirement { requires_type: Some(requires) };
    let ways = asked.ways.iter().map(|way| one(RequiresType::ProviderName(way.clone())));
    let or_else = asked.may_fail.then(|| one(RequiresType::AllowMissingOrFailed(Empty {})));
    let mut requirements: Vec<JwtRequirement> = ways.chain(or_else).collect();
    match requirements.len() {
        1 => requirements.remove(0),
        _ => one(RequiresType::RequiresAny(JwtRequirementOrList { requirements })),
    }
}

/// `JwtAuthentication`'s maps in order: envoy-types' are hash maps, whose bytes differ from run to run.
#[derive(Clone, PartialEq, Message)]
struct OrderedMaps {
    #[prost(btree_map = "string, message", tag = "1")]
    providers: BTreeMap<String, JwtProvider>,
    #[prost(btree_map = "string, message", tag = "5")]
    requirement_map: BTreeMap<String, JwtRequirement>,
}
