//! What is wrong with a schema's `google.api.http` rules.

use std::fmt;

/// Everything that keeps the named gRPC services from being offered as REST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// One for each mistake, in the order of the schema; never empty.
    pub problems: Vec<ApiProblem>,
}

/// One mistake, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiProblem {
    /// The schema has no such service.
    #[error("the schema has no gRPC service `{service}`; it has {}", list(known))]
    UnknownService {
        /// Its full name.
        service: String,
        /// What the schema has.
        known: Vec<String>,
    },
    /// The rule as a whole.
    #[error("{rpc}: its google.api.http rule {why}")]
    Rule {
        /// Full name of the method.
        rpc: String,
        /// What to fix.
        why: String,
    },
    /// One binding of a rule.
    #[error("{rpc}: `{template}`: {why}")]
    Binding {
        /// Full name of the method.
        rpc: String,
        /// Its template, as written.
        template: String,
        /// What to fix.
        why: String,
    },
    /// Two bindings for the same requests.
    #[error(
        "{rpc} (`{template}`) and {other} (`{other_template}`) both want {method} of the same paths; give one of them another path"
    )]
    Conflict {
        /// Full name of the second method.
        rpc: String,
        /// Its template.
        template: String,
        /// Full name of the first method.
        other: String,
        /// Its template.
        other_template: String,
        /// The HTTP method.
        method: String,
    },
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            let gap = if at == 0 { "" } else { "; " };
            write!(f, "{gap}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ApiError {}

/// `a, b` or `none`.
pub(super) fn list<T: AsRef<str>>(names: &[T]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let quoted: Vec<String> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    quoted.join(", ")
}
