//! `CheckRequest` → what is asked, in this application's words.

use std::collections::BTreeMap;

use contract::gateway::{Proof, RouteAdmission, Way};
use contract::keys::Key;
use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use envoy_types::pb::google::protobuf::value::Kind;
use percent_encoding::percent_decode_str;

use super::claims::{Claims, field};

/// Where Envoy's token filter leaves what it found.
const TOKENS: &str = "envoy.filters.http.jwt_authn";
/// Envoy's words for a token that is not there.
const MISSING: &str = "Jwt is missing";

/// What Envoy asks.
#[derive(Debug)]
pub(super) struct Question {
    /// What the route asks for.
    pub(super) admission: RouteAdmission,
    /// Path and query.
    path: String,
    /// By lower-case name; values of one name are joined with commas.
    headers: BTreeMap<String, String>,
    /// By way.
    tokens: BTreeMap<String, Token>,
}

/// What Envoy found out about the token of one way.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// It is good.
    Verified(Claims),
    /// It is not, and why.
    Refused(String),
}

impl Question {
    /// Reads Envoy's message.
    ///
    /// # Errors
    /// What is missing in it.
    pub(super) fn read(request: CheckRequest) -> Result<Self, String> {
        let attributes = request.attributes.ok_or("the check has no attributes")?;
        let text = attributes
            .context_extensions
            .get(RouteAdmission::CONTEXT)
            .ok_or("the route does not say what it asks for")?;
        let admission: RouteAdmission = serde_json::from_str(text)
            .map_err(|error| format!("what the route asks for cannot be read: {error}"))?;
        let http = attributes.request.and_then(|request| request.http);
        let http = http.ok_or("the check has no HTTP request")?;
        let mut found = attributes.metadata_context.unwrap_or_default().filter_metadata;
        let found = found.remove(TOKENS).unwrap_or_default();
        let mut tokens = BTreeMap::new();
        for Way { name, .. } in &admission.ways {
            let structure = |key: &str| match found.fields.get(key)?.kind.as_ref()? {
                Kind::StructValue(value) => Some(value.clone()),
                _ => None,
            };
            if let Some(claims) = structure(name) {
                tokens.insert(name.clone(), Token::Verified(Claims(claims)));
            } else if let Some(why) = structure(&Way::refusal(name))
                && let Some(why) = field(&why, "message").filter(|why| why != MISSING)
            {
                tokens.insert(name.clone(), Token::Refused(why));
            }
        }
        Ok(Self { admission, path: http.path, headers: http.headers.into_iter().collect(), tokens })
    }

    /// A header, if it is there and holds anything.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// What is known of a way's token.
    pub(super) fn token(&self, way: &str) -> Option<&Token> {
        self.tokens.get(way)
    }

    /// Where a key stands that should not be there.
    pub(super) fn misplaced_key(&self) -> Option<String> {
        let path = percent_decode_str(&self.path).decode_utf8_lossy();
        if Key::is_in(&path) {
            return Some("the path or query".to_owned());
        }
        let is_right = |name: &str| {
            self.admission.ways.iter().any(|way| match &way.proof {
                Proof::Key { header, .. } => header == name,
                Proof::Token { .. } => false,
            })
        };
        let mut others = self.headers.iter().filter(|(name, _)| !is_right(name));
        let (name, _) = others.find(|(_, value)| Key::is_in(value))?;
        Some(format!("the header {name}"))
    }
}
