//! A job file → the job: linted, its variables filled in, parsed by Nomad itself.
//!
//! In: a file in HCL2, or in JSON as `nomad job run -output` writes it. Out: a [`Job`].
//!
//! **Invariants**: HCL has one parser, Nomad's; what lint calls an error does not get that far. JSON is taken as it is:
//! it has no lines that a rule could speak of, and no variables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use jobspec::Body;
use nomad::{Job, NomadClient};
use serde_json::Value;

use super::access;
use crate::console::Console;
use crate::failure::Failure;
use crate::lint::report::{self, Finding, Style};
use crate::lint::rules::Level;
use crate::lint::source::Source;
use crate::lint::{self, given};

/// Columns of a report that goes to no terminal.
const WIDTH: u16 = 100;

/// Which job.
#[derive(Debug, Args)]
pub struct JobArgs {
    /// The job's file: HCL2, or JSON.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// A variable's value in place of its default (repeatable).
    #[arg(long = "var", value_name = "NAME=VALUE")]
    variables: Vec<String>,
    /// A file of variables' values, NAME = VALUE each (repeatable); --var goes before it.
    #[arg(long = "var-file", value_name = "FILE")]
    variable_files: Vec<PathBuf>,
    /// Submit it in spite of what `meshctl lint` calls errors.
    #[arg(long)]
    no_lint: bool,
    /// `max_kill_timeout` of the clients that will run it, for lint.
    #[arg(long, value_name = "TIME", default_value = "30s")]
    max_kill_timeout: contract::duration::Span,
}

impl JobArgs {
    /// The file's name without its folders.
    pub fn name(&self) -> String {
        self.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Reads, lints and parses the file.
    ///
    /// # Errors
    /// When it cannot be read, breaks a rule, or Nomad cannot parse it.
    pub async fn job(
        &self,
        nomad: &NomadClient,
        console: &mut Console<'_>,
    ) -> Result<Job, Failure> {
        let text = lint::read(&self.file)?;
        let given = given(&self.variable_files, &self.variables)?;
        let job = if text.trim_start().starts_with('{') {
            if let Some(name) = given.keys().next() {
                let file = self.file.display();
                return Err(Failure::Usage(format!(
                    "{file} is JSON, which has no variables: leave {name} out, or deploy the HCL that it was made of"
                )));
            }
            from_json(&self.file, &text)?
        } else {
            let assignments = self.check(&text, &given, console)?;
            let parsed = nomad.parse(&text, &assignments).await;
            parsed.map_err(|error| match access::failure(&error) {
                Failure::Refused(why) => {
                    Failure::Refused(format!("{} is no job: {why}", self.file.display()))
                }
                other => other,
            })?
        };
        if job.id().is_empty() {
            let file = self.file.display();
            return Err(Failure::Refused(format!("{file} has no job with an id")));
        }
        Ok(job)
    }

    /// Lints the file; the variables as assignments that Nomad's parser takes.
    fn check(
        &self,
        text: &str,
        given: &BTreeMap<String, String>,
        console: &mut Console<'_>,
    ) -> Result<String, Failure> {
        let name = self.file.display().to_string();
        let source = Source { name: name.clone(), text: text.to_owned() };
        if !self.no_lint {
            let found = lint::lint(&source, given, self.max_kill_timeout.as_duration());
            refuse_errors(name, found, console)?;
        }
        // What is no HCL is refused by Nomad's own words, with --no-lint too.
        let Ok(body) = jobspec::parse(text) else { return Ok(String::new()) };
        let declared = jobspec::scope::variables(&body);
        if let Some(unknown) = given.keys().find(|name| !declared.contains(*name)) {
            return Err(Failure::Usage(format!(
                "{} declares no variable {unknown:?}",
                self.file.display()
            )));
        }
        Ok(assignments(&body, given))
    }
}

fn refuse_errors(
    name: String,
    found: Vec<Finding>,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let is_error = |own: &Finding| own.level == Level::Error && own.silenced.is_none();
    let errors: Vec<Finding> = found.into_iter().filter(is_error).collect();
    if errors.is_empty() {
        return Ok(());
    }
    let style =
        Style { has_color: console.has_color, width: usize::from(console.width.unwrap_or(WIDTH)) };
    let named = |own: &Finding| format!("{} in line {}", own.rule, own.line);
    let broken = errors.iter().map(named).collect::<Vec<_>>().join(", ");
    let text = report::text(&[(name.clone(), errors)], style);
    for line in text.lines() {
        console.remark(line)?;
    }
    Err(Failure::Refused(format!(
        "{name} would lose requests or hide its service ({broken}): nothing was submitted; mend it, or pass --no-lint"
    )))
}

/// `NAME = VALUE` for each given variable: texts quoted, everything else as the expression that it is.
fn assignments(body: &Body, given: &BTreeMap<String, String>) -> String {
    let is_text = |name: &str| {
        body.get_blocks("variable")
            .filter(|block| block.labels.first().is_some_and(|label| label.as_str() == name))
            .all(|block| {
                let kind = block.body.get_attribute("type").map(|own| own.value.to_string());
                kind.is_none_or(|kind| matches!(kind.trim(), "string" | "any"))
            })
    };
    let assign = |(name, value): (&String, &String)| {
        let value = if is_text(name) { quoted(value) } else { value.clone() };
        format!("{name} = {value}\n")
    };
    given.iter().map(assign).collect()
}

/// A text as HCL quotes it, taken literally.
fn quoted(text: &str) -> String {
    let json = Value::from(text).to_string();
    json.replace("${", "$${").replace("%{", "%%{")
}

fn from_json(file: &Path, text: &str) -> Result<Job, Failure> {
    let parsed = serde_json::from_str::<Value>(text);
    let mut body = parsed.map_err(|error| {
        Failure::Refused(format!("{} is no job: broken JSON: {error}", file.display()))
    })?;
    if let Some(inner) = body.get_mut("Job") {
        body = inner.take();
    }
    Ok(Job { body })
}

/// How long a shutdown takes at the most, by a job's own words.
pub fn longest_stop(job: &Job) -> Duration {
    let nanoseconds = |value: Option<&Value>| value.and_then(Value::as_u64).unwrap_or_default();
    let of_group = |group: &Value| {
        let tasks = group.get("Tasks").and_then(Value::as_array).into_iter().flatten();
        let kill = tasks.map(|task| nanoseconds(task.get("KillTimeout"))).sum::<u64>();
        nanoseconds(group.get("ShutdownDelay")) + kill
    };
    Duration::from_nanos(job.groups().map(of_group).max().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_and_other_values_are_expressions() {
        let body = jobspec::parse("variable \"version\" {}\nvariable \"zones\" {\n  type = list(string)\n}\nvariable \"note\" {\n  type = string\n}\n")
            .unwrap();
        let given = [("version", "1.4"), ("zones", "[\"a\"]"), ("note", "say \"${hi}\"")];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(
            assignments(&body, &given),
            "note = \"say \\\"$${hi}\\\"\"\nversion = \"1.4\"\nzones = [\"a\"]\n"
        );
    }
}
