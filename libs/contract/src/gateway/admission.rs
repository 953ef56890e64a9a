//! What a route asks of its callers, where Envoy cannot decide alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::keys::KeyFolder;
use crate::name::SystemName;
use crate::system::Requirement;

/// What the application decides by, as JSON in the check's context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteAdmission {
    /// The System.
    pub system: SystemName,
    /// Which route of it, for people.
    pub route: String,
    /// Of these one must succeed; the first that does says who calls.
    pub ways: Vec<Way>,
    /// What a proven caller must have besides.
    #[serde(default)]
    pub require: Requirement,
}

impl RouteAdmission {
    /// The key of the check's context extensions.
    pub const CONTEXT: &str = "mesh";
}

/// One of the System's ways to prove who calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// Its name in the document; Envoy keeps a token's claims under it.
    pub name: String,
    /// What is shown.
    pub proof: Proof,
}

impl Way {
    /// Where Envoy keeps why the token of the way of this name was refused.
    pub fn refusal(name: &str) -> String {
        format!("refused:{name}")
    }
}

/// What a way wants to see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// A token, which Envoy has checked.
    Token {
        /// The header that carries it.
        header: String,
        /// The claim that names the consumer; dots lead into nested claims.
        consumer: String,
        /// Claims that Envoy has written into headers: claim → header.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        claims: BTreeMap<String, String>,
    },
    /// A key.
    Key {
        /// The header that carries it.
        header: String,
        /// Where its record is.
        folder: KeyFolder,
    },
}
