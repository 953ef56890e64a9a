//! A token's claims, as Envoy hands them on.

use std::collections::BTreeSet;

use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};

/// The claims of a token that Envoy has verified.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Claims(pub(super) Struct);

impl Claims {
    /// What a claim holds, as text: one value, or those of a list. Dots lead into nested claims.
    pub(super) fn values(&self, path: &str) -> Vec<String> {
        match self.at(path) {
            Some(Kind::ListValue(list)) => {
                list.values.iter().filter_map(|value| text(value.kind.as_ref()?)).collect()
            }
            Some(kind) => text(kind).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// A claim with one value that can be written into a header.
    pub(super) fn header_value(&self, path: &str) -> Option<String> {
        let value = text(self.at(path)?)?;
        let is_one_line = !value.is_empty() && !value.chars().any(char::is_control);
        is_one_line.then_some(value)
    }

    /// The words of `scope`, or the elements of its list.
    pub(super) fn scopes(&self) -> BTreeSet<String> {
        let values = self.values("scope");
        values.iter().flat_map(|value| value.split_whitespace()).map(str::to_owned).collect()
    }

    fn at(&self, path: &str) -> Option<&Kind> {
        let (parents, last) = match path.rsplit_once('.') {
            Some((parents, last)) => (parents.split('.').collect(), last),
            None => (Vec::new(), path),
        };
        let mut claims = &self.0;
        for parent in parents {
            match claims.fields.get(parent)?.kind.as_ref()? {
                Kind::StructValue(nested) => claims = nested,
                _ => return None,
            }
        }
        claims.fields.get(last)?.kind.as_ref()
    }
}

/// The text of `key` in a struct.
pub(super) fn field(of: &Struct, key: &str) -> Option<String> {
    of.fields.get(key).and_then(|Value { kind }| text(kind.as_ref()?))
}

fn text(kind: &Kind) -> Option<String> {
    match kind {
        Kind::StringValue(text) => Some(text.clone()),
        Kind::NumberValue(number) => Some(number.to_string()),
        Kind::BoolValue(value) => Some(value.to_string()),
        Kind::NullValue(_) | Kind::StructValue(_) | Kind::ListValue(_) => None,
    }
}
