//! Headers that tell services who calls: removed from what clients send, written by the gateway alone.

use contract::gateway::AUTH_HEADER;
use envoy_types::pb::envoy::config::common::mutation_rules::v3::HeaderMutation as Mutation;
use envoy_types::pb::envoy::config::common::mutation_rules::v3::header_mutation::{
    Action, RemoveOnMatch,
};
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::extensions::filters::http::header_mutation::v3::{
    HeaderMutation, HeaderMutationPerRoute, Mutations,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher};
use envoy_types::pb::google::protobuf::Any;

use super::{discovered, filter, off};
use crate::mesh::Checkpoint;
use crate::xds::build::pack;

const IDENTITY: &str = "mesh.identity";
const WAY: &str = "mesh.way";

/// Removes what only the gateway may say.
pub(super) fn remove() -> HttpFilter {
    discovered::<HeaderMutation>(IDENTITY)
}

/// Which headers those are. Applications that read headers as CGI does take `_` for `-`, so both go.
pub(super) fn removed(checkpoint: &Checkpoint) -> (&'static str, Any) {
    let names = checkpoint.identity_headers.iter().map(String::as_str);
    let mutations = Some(mutations(removals(names)));
    (IDENTITY, pack(&HeaderMutation { mutations, ..Default::default() }))
}

/// Remove headers of these names, however they are spelt: one for each, because an expression of many names is larger
/// than Envoy takes.
pub(super) fn removals<'a>(names: impl Iterator<Item = &'a str>) -> impl Iterator<Item = Action> {
    names.map(|name| {
        let regex = RegexMatcher { regex: expression(name), ..Default::default() };
        let pattern = Some(MatchPattern::SafeRegex(regex));
        let matcher = StringMatcher { match_pattern: pattern, ..Default::default() };
        Action::RemoveOnMatch(RemoveOnMatch { key_matcher: Some(matcher) })
    })
}

/// A header's name as a regular expression.
fn expression(name: &str) -> String {
    let letter = |letter: char| match letter {
        '-' | '_' => "[-_]".to_owned(),
        letter if letter.is_ascii_alphanumeric() => letter.to_string(),
        letter => format!("[{letter}]").replace("[^]", "\\^"),
    };
    name.chars().map(letter).collect()
}

/// Writes which way succeeded, on routes that ask for tokens alone.
pub(super) fn way() -> HttpFilter {
    off(filter(WAY, &HeaderMutation::default()))
}

/// The name of the policy by which the token was let through: that of its way.
pub(super) fn way_of_token() -> (&'static str, Any) {
    let value = "%DYNAMIC_METADATA(envoy.filters.http.rbac:enforced_effective_policy_id)%";
    let header =
        HeaderValue { key: AUTH_HEADER.to_owned(), value: value.to_owned(), ..Default::default() };
    let set = Action::Append(HeaderValueOption {
        header: Some(header),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..Default::default()
    });
    (WAY, pack(&HeaderMutationPerRoute { mutations: Some(mutations([set].into_iter())) }))
}

pub(super) fn mutations(actions: impl Iterator<Item = Action>) -> Mutations {
    let request_mutations = actions.map(|action| Mutation { action: Some(action) }).collect();
    Mutations { request_mutations, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_meant_literally_but_for_its_dashes() {
        assert_eq!(expression("x-mesh-auth"), "x[-_]mesh[-_]auth");
        assert_eq!(expression("a.b^c+d|e"), r"a[.]b\^c[+]d[|]e");
    }
}
