//! What a verified token must hold, and that a request brings one proof and not two.
//!
//! **Invariants**: policies are a map, so they are encoded in order; a claim that is absent fits nothing.

use std::collections::BTreeMap;

use contract::system::Jwt;
use envoy_types::pb::envoy::config::rbac::v3::rbac::Action;
use envoy_types::pb::envoy::config::rbac::v3::{
    MetadataSource, Permission, Policy, Principal, SourcedMetadata, permission, principal,
};
use envoy_types::pb::envoy::config::route::v3::HeaderMatcher;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::{Rbac, RbacPerRoute};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use envoy_types::pb::envoy::r#type::matcher::v3::metadata_matcher::{PathSegment, path_segment};
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern as TextPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::value_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{
    DoubleMatcher, ListMatcher, MetadataMatcher, OrMatcher, StringMatcher, ValueMatcher,
    double_matcher, list_matcher,
};
use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};

use super::{filter as plain, jwt, off};
use crate::mesh::Guard;
use crate::mesh::admission::consumer_claim;

const NAME: &str = "envoy.filters.http.rbac";
const ONE_PROOF: &str = "mesh.one_proof";
/// The policy that refuses two proofs in one header; the listener's refusals know it by this name.
pub(super) const TWO_PROOFS: &str = "two_proofs";

/// The filter that holds a token's claims against what a route requires.
pub(super) fn filter() -> HttpFilter {
    off(plain(NAME, &Rbac::default()))
}

/// The filter that refuses a request with a header of proofs sent twice.
pub(super) fn one_proof() -> HttpFilter {
    off(plain(ONE_PROOF, &Rbac::default()))
}

/// One policy for each way by token; its name tells the next filter which it was.
pub(super) fn of(guard: &Guard) -> (&'static str, Any) {
    let policy = |(way, jwt): (&String, &Jwt)| {
        let all = principal::Set { ids: holds(way, jwt, guard) };
        let principal = Principal { identifier: Some(principal::Identifier::AndIds(all)) };
        (way.clone(), policy(any_permission(), principal))
    };
    (NAME, per_route(Action::Allow, guard.tokens().map(policy).collect()))
}

/// Envoy joins headers of one name with commas, and finds a token behind something else's comma.
pub(super) fn one_proof_of(guard: &Guard) -> (&'static str, Any) {
    let has_two = |name: &&str| {
        let matcher = HeaderMatcher {
            name: (*name).to_owned(),
            header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(StringMatcher {
                match_pattern: Some(TextPattern::Contains(",".to_owned())),
                ..Default::default()
            })),
            ..Default::default()
        };
        Permission { rule: Some(permission::Rule::Header(matcher)) }
    };
    let anybody = Principal { identifier: Some(principal::Identifier::Any(true)) };
    let permissions = guard.proof_headers().iter().map(has_two).collect();
    let policy = policy(permissions, anybody);
    (ONE_PROOF, per_route(Action::Deny, [(TWO_PROOFS.to_owned(), policy)].into()))
}

fn policy(permissions: Vec<Permission>, principal: Principal) -> Policy {
    Policy { permissions, principals: vec![principal], ..Default::default() }
}

fn any_permission() -> Vec<Permission> {
    vec![Permission { rule: Some(permission::Rule::Any(true)) }]
}

/// The consumer's claim, every scope, and of each claim one of its values.
fn holds(way: &str, jwt: &Jwt, guard: &Guard) -> Vec<Principal> {
    let consumer = claim(way, consumer_claim(jwt), MatchPattern::PresentMatch(true));
    let scopes = guard.require.scopes.iter().map(|scope| claim(way, "scope", in_list(scope)));
    let claims = guard.require.claims.iter().map(|(name, values)| {
        let value_matchers = values.iter().flat_map(|value| fitting(value)).map(matcher).collect();
        claim(way, name, MatchPattern::OrMatch(OrMatcher { value_matchers }))
    });
    std::iter::once(consumer).chain(scopes).chain(claims).collect()
}

/// A claim that fits; dots lead into nested claims.
fn claim(way: &str, name: &str, pattern: MatchPattern) -> Principal {
    let path = std::iter::once(way)
        .chain(name.split('.'))
        .map(|key| PathSegment { segment: Some(path_segment::Segment::Key(key.to_owned())) });
    let metadata_matcher = MetadataMatcher {
        filter: jwt::NAME.to_owned(),
        path: path.collect(),
        value: Some(matcher(pattern)),
        ..Default::default()
    };
    Principal {
        identifier: Some(principal::Identifier::SourcedMetadata(SourcedMetadata {
            metadata_matcher: Some(metadata_matcher),
            metadata_source: MetadataSource::Dynamic.into(),
        })),
    }
}

/// A document's value is text; the token's may be text, a number, true or false, or a list with the text in it.
fn fitting(value: &str) -> Vec<MatchPattern> {
    let mut patterns = vec![exactly(value), in_list(value)];
    if let Ok(number) = value.parse::<f64>() {
        let exact = Some(double_matcher::MatchPattern::Exact(number));
        patterns.push(MatchPattern::DoubleMatch(DoubleMatcher { match_pattern: exact }));
    }
    if let Ok(truth) = value.parse::<bool>() {
        patterns.push(MatchPattern::BoolMatch(truth));
    }
    patterns
}

fn exactly(value: &str) -> MatchPattern {
    MatchPattern::StringMatch(StringMatcher {
        match_pattern: Some(TextPattern::Exact(value.to_owned())),
        ..Default::default()
    })
}

fn in_list(value: &str) -> MatchPattern {
    let one = list_matcher::MatchPattern::OneOf(Box::new(matcher(exactly(value))));
    MatchPattern::ListMatch(Box::new(ListMatcher { match_pattern: Some(one) }))
}

const fn matcher(pattern: MatchPattern) -> ValueMatcher {
    ValueMatcher { match_pattern: Some(pattern) }
}

fn per_route(action: Action, policies: BTreeMap<String, Policy>) -> Any {
    let rules = OrderedRules { action: action.into(), policies };
    let settings = OrderedPerRoute { rbac: Some(OrderedRbac { rules: Some(rules) }) };
    Any { type_url: RbacPerRoute::type_url(), value: settings.encode_to_vec() }
}

/// `RBACPerRoute` with an ordered map: envoy-types' is a hash map, whose bytes differ from run to run.
#[derive(Clone, PartialEq, Message)]
struct OrderedPerRoute {
    #[prost(message, optional, tag = "2")]
    rbac: Option<OrderedRbac>,
}

/// The filter's `RBAC`.
#[derive(Clone, PartialEq, Message)]
struct OrderedRbac {
    #[prost(message, optional, tag = "1")]
    rules: Option<OrderedRules>,
}

/// `envoy.config.rbac.v3.RBAC`.
#[derive(Clone, PartialEq, Message)]
struct OrderedRules {
    #[prost(enumeration = "Action", tag = "1")]
    action: i32,
    #[prost(btree_map = "string, message", tag = "2")]
    policies: BTreeMap<String, Policy>,
}
