//! A job in Nomad's language → the JSON of its API.
//!
//! In: HCL2, values for its variables. Out: a job as `POST /v1/jobs` takes it, with the keys that the file says and no
//! defaults, or what is wrong with it, each line `file:line,column-column: what; why`. Pure.
//!
//! | module | is |
//! |---|---|
//! | [`table`] | how the blocks of a job are described |
//! | `job`, `service`, `task` | the blocks of a job |
//! | [`decode`] | a block and its table → JSON |
//! | [`convert`] | an argument's value → JSON of its type |
//!
//! **Invariant**: every argument and block that no table names is an error. Where Nomad 1.6 and 2.0 differ it is 2.0:
//! `weights` is taken. Deliberately absent: Vault, identities, Connect, CSI, devices, which are errors that say so; what a
//! driver makes of its `config`.

use ::jobspec::{Inputs, Node, Problem, Scope, Source};
use serde_json::Value;

mod convert;
mod decode;
mod job;
mod service;
mod table;
mod task;

#[cfg(test)]
mod tests;

/// The name that Nomad's API gives to a file that it parses.
const OF_API: &str = "input.hcl";

/// Parses what `POST /v1/jobs/parse` brings: a job, and values as a file of variables.
///
/// # Errors
/// What is wrong, as Nomad says it.
pub(crate) fn parse(hcl: &str, variables: &str) -> Result<Value, String> {
    let files = if variables.trim().is_empty() {
        Vec::new()
    } else {
        vec![("input.vars".to_owned(), variables.to_owned())]
    };
    parse_file(OF_API, hcl, &Inputs { files, ..Inputs::default() })
}

/// Parses a file with values from flags, files and the environment.
///
/// # Errors
/// What is wrong, as Nomad says it.
pub(crate) fn parse_file(name: &str, hcl: &str, inputs: &Inputs) -> Result<Value, String> {
    let source = Source { name: name.to_owned(), text: hcl.to_owned() };
    let said = |problems: Vec<Problem>| {
        let line = |own: Problem| format!("{name}:{},{}: {}", own.line, own.column, own.message);
        problems.into_iter().map(line).collect::<Vec<_>>().join("\n")
    };
    let body = ::jobspec::parse(hcl).map_err(|problem| said(vec![problem]))?;
    let scope = Scope::strict(&source, &body, inputs).map_err(said)?;
    let file = Node::of_file(&source, &body, scope);
    decode::file(&file).map_err(|problems| problems.join("\n"))
}
