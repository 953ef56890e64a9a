//! The published JSON Schema of System documents.
//!
//! In: the types of [`crate::system`]. Out: the schema that `document.rs` checks with, and its text for
//! `docs/system.schema.json`, which editors use.
//!
//! **Invariants**: deterministic; a key without a value is a mistake, so `null` is allowed nowhere
//! (an empty `callers:` would otherwise let everyone in).

use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::system::SystemDocument;

/// The schema as it is published: pretty, ending with a line end.
pub fn json_schema() -> String {
    format!("{:#}\n", value())
}

/// The schema as a value.
pub(crate) fn value() -> Value {
    let schema =
        SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<SystemDocument>();
    let mut schema = schema.to_value();
    refuse_null(&mut schema);
    schema
}

/// Takes `null` out of the alternatives that optional fields get.
fn refuse_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(refuse_null),
        Value::Object(keys) => {
            if let Some(Value::Array(types)) = keys.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    keys.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(choices)) = keys.get_mut("anyOf") {
                choices.retain(|choice| choice.get("type") != Some(&Value::from("null")));
                if let [Value::Object(only)] = choices.as_slice() {
                    let only = only.clone();
                    keys.remove("anyOf");
                    keys.extend(only);
                }
            }
            keys.values_mut().for_each(refuse_null);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_published_schema_is_current() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/system.schema.json");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, json_schema()).unwrap();
        }
        let published = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(published == json_schema(), "UPDATE_GOLDEN=1 rewrites docs/system.schema.json");
    }

    #[test]
    fn nothing_may_be_null() {
        assert!(!json_schema().contains("\"null\""));
    }
}
