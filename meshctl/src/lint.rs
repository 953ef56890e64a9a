//! `meshctl lint`: job files → what in them would lose requests or hide a service.
//!
//! In: files, values for their variables. Out: a report, and an exit code. Called by [`crate::cli`].
//!
//! ```text
//!  file ─▶ jobspec ─▶ job ─▶ rules ─▶ report
//!          blocks     model   table    text, JSON
//!          with values        silences
//! ```
//!
//! **Invariants**: only this file reads files; everything else is pure. One bad file is a finding, never the end of the
//! others. Nothing asks a server. Deliberately absent: what `nomad job validate` says already.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use contract::duration::Span;
use jobspec::{Node, Problem, Scope};

use crate::console::Console;
use crate::failure::Failure;
use crate::show::OutputArgs;

pub mod job;
pub mod page;
pub mod proxy;
pub mod report;
pub mod rules;
pub mod source;

use self::report::{Finding, Style};
use self::rules::{Case, Found, Level, RULES, Rule};
use self::source::Source;

/// Columns of a report that goes to no terminal.
const WIDTH: u16 = 100;

/// Say what in Nomad jobs would lose requests, or hide a service from the mesh.
///
/// Reads the files alone: no server is asked. Variables have their defaults; what hangs on one without a default is
/// named and not judged. `# lint:allow(RULE) REASON` in the line, or in the comment above it, silences a finding.
/// All rules: docs/lint.md.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0  no errors (with --deny-warnings: nothing at all)
  1  errors were found, or a file is no job
  2  the command line makes no sense, or a file cannot be read

Examples:
  meshctl lint orders.nomad.hcl
  meshctl lint --var system=trading --deny-warnings jobs/*.nomad.hcl
  meshctl lint -o json orders.nomad.hcl")]
pub struct LintArgs {
    /// Job files in HCL2.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A variable's value in place of its default (repeatable).
    #[arg(long = "var", value_name = "NAME=VALUE")]
    variables: Vec<String>,
    /// A file of variables' values, NAME = VALUE each (repeatable); --var goes before it.
    #[arg(long = "var-file", value_name = "FILE")]
    variable_files: Vec<PathBuf>,
    /// `max_kill_timeout` of the clients that will run the jobs.
    #[arg(long, value_name = "TIME", default_value = "30s")]
    max_kill_timeout: Span,
    /// Let warnings fail, too.
    #[arg(long)]
    deny_warnings: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Lints the files.
///
/// # Errors
/// When a file cannot be read, or what was found is not to be let through.
pub fn run(args: &LintArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let given = given(&args.variable_files, &args.variables)?;
    let mut used = BTreeSet::new();
    let mut files = Vec::new();
    for path in &args.files {
        let source = Source { name: path.display().to_string(), text: read(path)? };
        let findings = lint(&source, &given, args.max_kill_timeout.as_duration());
        if let Ok(body) = jobspec::parse(&source.text) {
            used.extend(jobspec::scope::variables(&body));
        }
        files.push((source.name, findings));
    }
    if let Some(name) = given.keys().find(|name| !used.contains(*name)) {
        return Err(Failure::Usage(format!("no file declares a variable {name:?}")));
    }
    if args.output.is_json() {
        let all: Vec<&Finding> = files.iter().flat_map(|(_, findings)| findings).collect();
        let json = serde_json::to_string_pretty(&all);
        let json = json.map_err(|error| Failure::Refused(error.to_string()))?;
        console.print(&format!("{json}\n"))?;
    } else {
        let width = usize::from(console.width.unwrap_or(WIDTH));
        let style = Style { has_color: console.has_color, width };
        console.print(&report::text(&files, style))?;
    }
    let counts = |level| {
        let loud = files.iter().flat_map(|(_, all)| all).filter(|own| own.silenced.is_none());
        loud.filter(|own| own.level == level).count()
    };
    let (errors, warnings) = (counts(Level::Error), counts(Level::Warning));
    if errors == 0 && (warnings == 0 || !args.deny_warnings) {
        return Ok(());
    }
    Err(Failure::Refused(format!("not let through: errors {errors}, warnings {warnings}")))
}

/// A job file's text.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))
}

/// The values of variables from files and flags.
pub(crate) fn given(
    variable_files: &[PathBuf],
    variables: &[String],
) -> Result<BTreeMap<String, String>, Failure> {
    let mut given = BTreeMap::new();
    for path in variable_files {
        let text = read(path)?;
        let body = jobspec::parse(&text)
            .map_err(|problem| Failure::Usage(format!("{}: {}", path.display(), said(&problem))))?;
        for attribute in body.attributes() {
            let value = &attribute.value;
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            given.insert(attribute.key.as_str().to_owned(), text.trim().to_owned());
        }
    }
    for variable in variables {
        let Some((name, value)) = variable.split_once('=') else {
            return Err(Failure::Usage(format!("--var {variable}: write NAME=VALUE")));
        };
        given.insert(name.to_owned(), value.to_owned());
    }
    Ok(given)
}

/// What is found in one file, in the order of its lines, silenced findings included.
pub fn lint(
    source: &Source,
    given: &BTreeMap<String, String>,
    max_kill_timeout: Duration,
) -> Vec<Finding> {
    let mut found: Vec<(&'static Rule, Found)> = Vec::new();
    let mut add = |id: &str, line: usize, message: String| {
        found.extend(rules::rule(id).map(|rule| (rule, Found { line, message })));
    };
    match jobspec::parse(&source.text) {
        Err(problem) => add("syntax", problem.line, said(&problem)),
        Ok(body) => {
            let file = Node::of_file(source, &body, Scope::of_file(&body, given));
            let jobs = job::Job::of_file(&file);
            if jobs.is_empty() {
                add("no-job", 1, "there is no job block".to_owned());
            }
            for (line, key, why) in file.blocks("job").iter().flat_map(Node::unknown) {
                add("unknown", line, format!("{key} is not known: {why}"));
            }
            for job in &jobs {
                let case = Case { job, max_kill_timeout };
                for rule in RULES {
                    let all = rule.check.map(|check| check(&case)).unwrap_or_default();
                    found.extend(all.into_iter().map(|one| (rule, one)));
                }
            }
        }
    }
    let to_finding = |(rule, one): (_, Found)| Finding::of(rule, source, one.line, one.message);
    let mut findings: Vec<Finding> = found.into_iter().map(to_finding).collect();
    silence(source, &mut findings);
    findings.sort_by(|left, right| (left.line, left.rule).cmp(&(right.line, right.rule)));
    findings
}

/// Applies the file's silences, and adds what is wrong with them.
fn silence(source: &Source, findings: &mut Vec<Finding>) {
    let mut wrong = Vec::new();
    for silence in source::silences(source) {
        let mut complain = |id: &str, message: String| {
            let rule = rules::rule(id);
            wrong.extend(rule.map(|rule| Finding::of(rule, source, silence.line, message)));
        };
        if rules::rule(&silence.rule).is_none() {
            complain("silence", format!("there is no rule {:?}", silence.rule));
            continue;
        }
        if silence.reason.is_empty() {
            complain("silence", format!("no reason is given for {:?}", silence.rule));
            continue;
        }
        let mut is_used = false;
        let meant = |own: &&mut Finding| own.line == silence.covers && own.rule == silence.rule;
        for finding in findings.iter_mut().filter(meant) {
            finding.silenced = Some(silence.reason.clone());
            is_used = true;
        }
        if !is_used {
            complain("silence-unused", format!("nothing breaks {:?} here", silence.rule));
        }
    }
    findings.extend(wrong);
}

/// A parser's complaint as one line.
fn said(problem: &Problem) -> String {
    format!("column {}: {}", problem.column, problem.message)
}
