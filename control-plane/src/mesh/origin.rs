//! Where what proxies get comes from, for the people who wrote it.

use std::fmt;

use contract::name::{ServiceKey, SystemName};

/// Where something comes from: a registration, a line of a document, or a default.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A meta key of the registrations of a service.
    Registration(ServiceKey, &'static str),
    /// A key path of a System's document.
    Document(SystemName, String),
    /// The proxy's own bootstrap.
    Bootstrap(&'static str),
    /// What holds when nobody says anything.
    Default(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registration(key, meta) => write!(f, "registration of {key}, meta {meta}"),
            Self::Document(system, path) => write!(f, "document {system}, {path}"),
            Self::Bootstrap(key) => write!(f, "bootstrap, node.metadata.mesh.{key}"),
            Self::Default(rule) => write!(f, "default: {rule}"),
        }
    }
}
