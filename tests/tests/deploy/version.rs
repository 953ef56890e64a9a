//! Versions of jobs: a file of `jobs/` under a name, with values for its variables.
//!
//! In: what differs. Out: a file for `meshctl deploy`, or text and assignments for Nomad's parser. Pure but for the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lab::jobs::{GATEWAY, SERVICE};

/// What is deployed.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    /// The job's id.
    pub(crate) job: String,
    text: String,
    /// Each in HCL.
    variables: BTreeMap<&'static str, String>,
}

impl Version {
    /// The first version of a service.
    pub(crate) fn service(system: &str, name: &str, protocol: &str, path: &str) -> Self {
        Self::of(name, &SERVICE.replace("orders", name))
            .text("system", system)
            .text("protocol", protocol)
            .text("path", path)
            .text("check", protocol)
    }

    /// The first version of a System's gateway.
    pub(crate) fn gateway(system: &str) -> Self {
        let name = format!("{system}-gateway");
        Self::of(&name, &GATEWAY.replace("trading-gateway", &name)).text("system", system)
    }

    fn of(job: &str, text: &str) -> Self {
        Self { job: job.to_owned(), text: text.to_owned(), variables: BTreeMap::new() }
    }

    /// With a text for a variable.
    pub(crate) fn text(self, name: &'static str, value: &str) -> Self {
        self.with(name, format!("{value:?}"))
    }

    /// With a value in HCL for a variable.
    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.variables.insert(name, value.to_string());
        self
    }

    /// Its text and what its variables are assigned, for Nomad's parser.
    pub(crate) fn hcl(&self) -> (&str, String) {
        let lines = self.variables.iter().map(|(name, value)| format!("{name} = {value}\n"));
        (&self.text, lines.collect())
    }

    /// Its file and flags, for `meshctl deploy`. Each version of a job is the same file.
    pub(crate) fn file(&self, dir: &Path) -> (PathBuf, Vec<String>) {
        let file = dir.join(format!("{}.nomad.hcl", self.job));
        std::fs::write(&file, &self.text).unwrap();
        let flag = |(name, value): (&&str, &String)| format!("--var={name}={}", bare(value));
        (file, self.variables.iter().map(flag).collect())
    }
}

/// A text without its quotes: on a command line it has none.
fn bare(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}
