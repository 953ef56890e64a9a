//! `/v1/vars`, `/v1/var`: Nomad's own key-value store; a path holds a few items of text.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::decode::null_as_default;
use crate::query::Query;

/// That a variable is there, without its items.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VariableStub {
    /// Its path, such as `mesh/systems/trading`.
    pub path: String,
    /// When it last changed.
    pub modify_index: u64,
}

/// A variable.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Variable {
    /// Its path.
    pub path: String,
    /// What it holds.
    #[serde(deserialize_with = "null_as_default")]
    pub items: BTreeMap<String, String>,
    /// When it last changed.
    pub modify_index: u64,
}

impl Query<Vec<VariableStub>> {
    /// The variables whose path begins so; those that the token may not list are left out.
    pub fn variables(prefix: &str) -> Self {
        Self::new(["vars"], "list on the variables' path").with("prefix", prefix)
    }
}

impl Query<Variable> {
    /// A variable; an unknown one is [`crate::NomadError::NotFound`].
    pub fn variable(path: &str) -> Self {
        Self::new(["var"].into_iter().chain(path.split('/')), "read on the variable's path")
    }
}
