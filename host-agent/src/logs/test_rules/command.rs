//! `host-agent test-rules`: entries of a file through the rules, shown or compared; without a file, the tests of the
//! configuration.
//!
//! Of the configuration only shaping, rules, routes, tests and the destinations' names are read, so that a file can be checked
//! where its certificates and secrets are not.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, ValueEnum};
use service::ErrorChain;
use service::config::{Problems, load};

use super::expect::{differences, expectations, lines};
use super::show::Look;
use super::{Trial, input, instances};
use crate::config::RawConfig;
use crate::logs::config::RawLogs;
use crate::logs::entry::Entry;
use crate::logs::route::Routes;
use crate::logs::shape::Rules;

/// What is tried, and how it is shown.
#[derive(Debug, Args)]
pub struct TestRulesOptions {
    /// Configuration file (TOML) with the rules.
    #[arg(long)]
    pub config: PathBuf,
    /// Entries as `journalctl -o json --all` prints them; `-`: standard input. Without it, `[[logs.tests]]` are run.
    pub file: Option<PathBuf>,
    /// For people or for programs.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
    /// What must come out, as `-o json` prints it; keys that do not matter may be left out. Differences end with exit code 1.
    #[arg(long, requires = "file")]
    pub expect: Option<PathBuf>,
    /// Who is who, instead of Consul: ALLOCATION=SYSTEM/SERVICE, with /canary after it for a canary. May be repeated.
    #[arg(long = "instance", value_name = "WHO", requires = "file")]
    pub instances: Vec<String>,
}

/// How outcomes are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Entries and what came of them, aligned.
    Text,
    /// What came out, one JSON object a line.
    Json,
}

/// Runs the command; whether all is as expected.
///
/// # Errors
/// When a file cannot be read or used.
pub fn run(options: &TestRulesOptions, look: Look, out: &mut dyn Write) -> anyhow::Result<bool> {
    let raw: RawConfig = load(Some(&options.config))?;
    let logs = raw.logs;
    let mut problems = Problems::default();
    let rules = Arc::new(Rules::resolve(&logs.shape, &logs.rules, &mut problems));
    let names: Vec<&str> = logs.destinations.keys().map(String::as_str).collect();
    let routes = Routes::resolve(&logs.routes, &names, &mut problems);
    problems.finish(Some(&options.config), Some(()))?;
    let trial = Trial::new(&rules, &routes, names);
    match &options.file {
        Some(file) => try_file(&trial, file, options, look, out),
        None => run_tests(&trial, &logs, look, out),
    }
}

fn read(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn try_file(
    trial: &Trial<'_>,
    file: &Path,
    options: &TestRulesOptions,
    look: Look,
    out: &mut dyn Write,
) -> anyhow::Result<bool> {
    let given = options.instances.iter().map(|who| {
        who.split_once('=').with_context(|| format!("{who:?}: write ALLOCATION=SYSTEM/SERVICE"))
    });
    let given = given.collect::<anyhow::Result<Vec<_>>>()?;
    let instances = instances(given).map_err(anyhow::Error::msg)?;
    let text = read(file)?;
    let entries = lines(&text).map(|(number, line)| Ok((number, input::entry(line, number)?)));
    let entries: Vec<(usize, Entry)> = entries
        .collect::<Result<_, input::InputError>>()
        .with_context(|| format!("cannot use {}", file.display()))?;
    let all = trial.run(entries.iter().map(|(_, entry)| entry), &instances);
    if let Some(file) = &options.expect {
        let expected =
            expectations(&read(file)?).with_context(|| format!("cannot use {}", file.display()))?;
        let outcomes: Vec<_> = all.into_iter().flatten().collect();
        let differences = differences(&expected, &outcomes);
        for difference in &differences {
            writeln!(out, "{}", look.bad(difference))?;
        }
        writeln!(out, "{} came out, {} differ", outcomes.len(), differences.len())?;
        return Ok(differences.is_empty());
    }
    let mut outcomes = all.iter();
    for (number, entry) in &entries {
        if options.output == Format::Text {
            writeln!(out, "{}", look.entry(*number, entry))?;
        }
        print(outcomes.next().map(Vec::as_slice).unwrap_or_default(), options, look, out)?;
    }
    for rest in outcomes.filter(|rest| !rest.is_empty()) {
        if options.output == Format::Text {
            writeln!(out, "{}", look.dim("at the end"))?;
        }
        print(rest, options, look, out)?;
    }
    Ok(true)
}

fn print(
    outcomes: &[super::Outcome],
    options: &TestRulesOptions,
    look: Look,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    for outcome in outcomes {
        match options.output {
            Format::Text => writeln!(out, "{}", look.outcome(outcome))?,
            Format::Json => writeln!(out, "{}", serde_json::to_string(outcome)?)?,
        }
    }
    Ok(())
}

fn run_tests(
    trial: &Trial<'_>,
    logs: &RawLogs,
    look: Look,
    out: &mut dyn Write,
) -> anyhow::Result<bool> {
    if logs.tests.is_empty() {
        anyhow::bail!(
            "the configuration has no [[logs.tests]]: write some, or name a file of entries"
        );
    }
    let mut failed = 0;
    for test in &logs.tests {
        let differences = match test.run(trial) {
            Ok(differences) => differences,
            Err(error) => vec![ErrorChain(&error).to_string()],
        };
        if differences.is_empty() {
            writeln!(out, "{} {}", look.good("ok"), test.name)?;
            continue;
        }
        failed += 1;
        writeln!(out, "{} {}", look.bad("FAILED"), test.name)?;
        for difference in differences {
            writeln!(out, "  {difference}")?;
        }
    }
    writeln!(out, "{} passed, {failed} failed", logs.tests.len() - failed)?;
    Ok(failed == 0)
}
