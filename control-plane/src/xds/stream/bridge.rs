//! What a filter is told while routes that ask something else of it change over.
//!
//! In: the filter's new configuration, the one that the proxy has, what its routes ask for. Out: the new configuration,
//! and with it the token requirements of the old one that routes in force still name.
//!
//! Envoy puts a filter's configuration and routes into force one after the other. Requests between the two would be
//! refused that the old rules let pass, and the new ones too: with the filter first, routes name a requirement that it
//! has no longer; with the routes first, one that it does not have yet.
//!
//! **Invariants**: what both configurations have is as the new one says; nothing stays that no route asks for, so that
//! it does not grow with each change; the same input gives the same bytes.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::JwtRequirement;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::jwt_requirement::RequiresType;
use envoy_types::pb::google::protobuf::Any;
use prost::{DecodeError, Message};

use crate::xds::resources::{Encoded, ResourceName, TypeSet, Version};

use super::type_state::TypeState;

/// What the proxy is to have of its filters while its routes are what they are.
pub(super) fn bridged<'a>(
    set: &'a TypeSet,
    extensions: &TypeState,
    routes: &TypeState,
) -> Cow<'a, TypeSet> {
    let mut bridged = Cow::Borrowed(set);
    for (name, new) in &set.resources {
        let Some(old) = extensions.known_content(name) else { continue };
        let asked = routes.contents().flat_map(|content| &content.requirements);
        let is_lost = |asked: &&Arc<str>| {
            old.requirements.contains(*asked) && !new.requirements.contains(*asked)
        };
        let kept: BTreeSet<Arc<str>> = asked.filter(is_lost).cloned().collect();
        if kept.is_empty() {
            continue;
        }
        // Both were encoded by this program. Where one could not be read, there would be nothing in it to keep.
        if let Ok(bridge) = bridge(new, old, kept) {
            bridged.to_mut().resources.insert(name.clone(), Arc::new(bridge));
        }
    }
    bridged
}

/// `new`, and of `old` the requirements `kept` with the ways that they name.
fn bridge(new: &Encoded, old: &Encoded, kept: BTreeSet<Arc<str>>) -> Result<Encoded, DecodeError> {
    let mut message = filter(new)?;
    let config = message.typed_config.get_or_insert_default();
    let known = Tokens::decode(config.value.as_slice())?;
    let before = filter(old)?.typed_config.unwrap_or_default();
    let mut left = Tokens::decode(before.value.as_slice())?;
    left.requirement_map.retain(|name, _| kept.contains(name.as_str()));
    let mut named = BTreeSet::new();
    for requirement in left.requirement_map.values() {
        ways(JwtRequirement::decode(requirement.as_slice())?, &mut named);
    }
    left.providers.retain(|way, _| named.contains(way) && !known.providers.contains_key(way));
    // A map's entries may come in several pieces.
    config.value.extend(left.encode_to_vec());
    let any = Any { type_url: new.kind.type_url().to_owned(), value: message.encode_to_vec() };
    let any = any.encode_to_vec();
    let clusters: BTreeSet<&ResourceName> = new.clusters.iter().chain(&*old.clusters).collect();
    Ok(Encoded {
        kind: new.kind,
        name: new.name.clone(),
        version: Version::of(&any),
        any: any.into(),
        clusters: clusters.into_iter().cloned().collect(),
        requirements: new.requirements.iter().cloned().chain(kept).collect(),
    })
}

fn filter(content: &Encoded) -> Result<TypedExtensionConfig, DecodeError> {
    let any = Any::decode(content.any.clone())?;
    TypedExtensionConfig::decode(any.value.as_slice())
}

/// The ways of which one must succeed.
fn ways(requirement: JwtRequirement, into: &mut BTreeSet<String>) {
    match requirement.requires_type {
        Some(RequiresType::ProviderName(way)) => drop(into.insert(way)),
        Some(RequiresType::RequiresAny(any)) => {
            any.requirements.into_iter().for_each(|requirement| ways(requirement, into));
        }
        _ => {}
    }
}

/// `JwtAuthentication`'s maps, whose values travel as they are.
#[derive(Clone, PartialEq, Message)]
struct Tokens {
    #[prost(btree_map = "string, bytes", tag = "1")]
    providers: BTreeMap<String, Vec<u8>>,
    #[prost(btree_map = "string, bytes", tag = "5")]
    requirement_map: BTreeMap<String, Vec<u8>>,
}
