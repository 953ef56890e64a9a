//! What may differ between deployments: how JSON is written, how large things may be.

use serde::{Deserialize, Serialize};

/// How calls are converted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// How answers are written.
    pub json: JsonOptions,
    /// How large things may be.
    pub limits: Limits,
}

/// `[json]`: how answers are written; the default is the canonical mapping. What is read accepts all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JsonOptions {
    /// Fields without presence are written although they have their default value.
    pub emit_defaults: bool,
    /// Enum values are written as numbers, not names.
    pub enums_as_numbers: bool,
    /// Fields are written with their names in the `.proto` file, not in lowerCamelCase.
    pub preserve_names: bool,
}

/// How large things may be. A stream as a whole has no limit: one message at a time is in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// A request's body.
    pub body_bytes: usize,
    /// A message to or from the service.
    pub message_bytes: usize,
    /// Objects and lists inside each other in a request's JSON.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes: 4 << 20, message_bytes: 4 << 20, depth: 100 }
    }
}
