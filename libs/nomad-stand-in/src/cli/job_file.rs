//! A job from a file, from standard input or from JSON, with the variables of the call.
//!
//! In: the flags `-var`, `-var-file`, `-json`, `NOMAD_VAR_…`. Out: the job's JSON.

use std::io::Read as _;

use ::jobspec::Inputs;
use serde_json::Value;

use super::args::Flag;
use super::args::Takes::{Nothing, Value as OneValue};
use super::session::Session;
use super::show::text;
use crate::jobspec;

/// The flags of commands that read a job.
pub(super) const FLAGS: &[Flag] = &[
    ("hcl2-strict", OneValue),
    ("json", Nothing),
    ("var", OneValue),
    ("var-file", OneValue),
    ("consul-namespace", OneValue),
    ("consul-token", OneValue),
    ("vault-namespace", OneValue),
    ("vault-token", OneValue),
];

/// The prefix of variables in the environment.
const PREFIX: &str = "NOMAD_VAR_";

/// The job that the call names.
pub(super) fn read(session: &Session) -> Result<Value, String> {
    let wrong = |why: String| format!("Error getting job struct: {why}");
    let path = session.word(0);
    let content = content(path).map_err(wrong)?;
    if session.has("json") {
        let job: Value = serde_json::from_str(&content)
            .map_err(|error| wrong(format!("Failed to parse JSON job: {error}")))?;
        return Ok(job.get("Job").cloned().unwrap_or(job));
    }
    let name = if path == "-" { "stdin" } else { path };
    let inputs = inputs(session).map_err(wrong)?;
    let job = jobspec::parse_file(name, &content, &inputs);
    job.map_err(|why| wrong(format!("Error parsing job file from {path}:\n{why}")))
}

/// A job's id.
pub(super) fn id(job: &Value) -> &str {
    text(job, "/ID")
}

fn content(path: &str) -> Result<String, String> {
    if path == "-" {
        let mut content = String::new();
        let read = std::io::stdin().read_to_string(&mut content);
        return read.map(|_| content).map_err(|error| format!("Error reading from stdin: {error}"));
    }
    std::fs::read_to_string(path).map_err(|error| format!("Error opening file {path:?}: {error}"))
}

fn inputs(session: &Session) -> Result<Inputs, String> {
    let environment = session.environment.iter();
    let environment = environment
        .filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?.to_owned(), value.clone())));
    let mut inputs = Inputs {
        environment: environment.collect(),
        is_strict: session.parsed.one("hcl2-strict") != Some("false"),
        ..Inputs::default()
    };
    for path in session.parsed.all("var-file") {
        inputs.files.push((path.clone(), content(path)?));
    }
    for pair in session.parsed.all("var") {
        let (name, value) = pair.split_once('=').ok_or_else(|| {
            format!("Invalid -var option {pair:?}: must be a key and value separated by =")
        })?;
        inputs.flags.push((name.to_owned(), value.to_owned()));
    }
    Ok(inputs)
}
