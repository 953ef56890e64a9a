//! `nomad`'s command line against an agent's HTTP API.
//!
//! In: words, the environment. Out: what Nomad's program prints, and its exit codes: 0 it went well, 1 it did not (`job
//! plan`: something would change), 2 there is no room (`job run`), 127 no such command, 255 an error of `job plan`.
//!
//! | module | is |
//! |---|---|
//! | `commands` | the table of commands |
//! | `args` | flags as Go's programs take them |
//! | `session`, `api`, `show` | one call; the agent's API; tables and keys |
//! | `job_file` | a job from a file, with its variables |
//! | `submit`, `plan`, `diff`, `monitor` | a job changed, and what comes of it |
//! | `jobs`, `deployment`, `alloc`, `node`, `others` | what there is, by kind |
//!
//! Deliberately absent: colours, templates of Go's (`-t`), `fmt`, `acl`, `var`, `volume`, `quota`, `sentinel`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;

mod alloc;
mod api;
mod args;
mod commands;
mod deployment;
mod diff;
mod job_file;
mod jobs;
mod monitor;
mod node;
mod others;
mod plan;
mod session;
mod show;
mod submit;

use self::api::Api;
use self::commands::{COMMANDS, Command};
use self::session::{Done, Session};

/// What `nomad version` says: the version whose behaviour the stand-in has where they differ.
pub(crate) const VERSION: &str = "Nomad v2.0.5 (stand-in for tests)";

/// No such command.
const UNKNOWN: u8 = 127;

/// Runs a command; `args` begin with its first word.
pub(crate) fn run(args: &[String]) -> ExitCode {
    let code = match called(args) {
        Ok(code) => code,
        Err(why) => {
            writeln!(std::io::stderr(), "{why}").ok();
            1
        }
    };
    ExitCode::from(code)
}

fn called(args: &[String]) -> Done {
    let first = args.first().map_or("", String::as_str);
    if ["version", "-version", "--version", "-v"].contains(&first) {
        writeln!(std::io::stdout(), "{VERSION}").ok();
        return Ok(0);
    }
    if first == "fmt" {
        return Err(
            "the stand-in for Nomad does not format files: use Nomad's own program".to_owned()
        );
    }
    let fits = |own: &&Command| {
        let mut words = args.iter();
        own.words.split(' ').all(|word| words.next().is_some_and(|own| own == word))
    };
    let Some(command) = COMMANDS.iter().filter(fits).max_by_key(|own| own.words.len()) else {
        writeln!(std::io::stderr(), "{}", usage(first)).ok();
        return Ok(if first.is_empty() { 1 } else { UNKNOWN });
    };
    let rest = args.get(command.words.split(' ').count()..).unwrap_or_default();
    if rest.iter().any(|word| ["-h", "-help", "--help"].contains(&word.as_str())) {
        writeln!(std::io::stdout(), "{}", help(command)).ok();
        return Ok(0);
    }
    let [own, of_jobs] = commands::flags(command);
    let parsed = args::parse(rest, &[own, of_jobs, args::COMMON]);
    let parsed = parsed.map_err(|why| format!("{why}\n\n{}", help(command)))?;
    let (least, most) = command.takes;
    if !(least..=most).contains(&parsed.words.len()) {
        return Err(format!("This command takes {}\n\n{}", arguments(command), help(command)));
    }
    let environment: BTreeMap<String, String> = std::env::vars().collect();
    let api = Api::new(&parsed, &environment)?;
    (command.run)(&Session { parsed, environment, api })
}

fn arguments(command: &Command) -> String {
    match command.takes {
        (0, 0) => "no arguments".to_owned(),
        (1, 1) => "one argument".to_owned(),
        (least, usize::MAX) => format!("at least {least} arguments"),
        (least, most) if least == most => format!("{least} arguments"),
        (least, most) => format!("{least} to {most} arguments"),
    }
}

fn help(command: &Command) -> String {
    let flags = commands::flags(command).into_iter().flatten().chain(args::COMMON);
    let flags: Vec<String> = flags.map(|(name, _)| format!("-{name}")).collect();
    format!(
        "Usage: nomad {} [options] ({})\nOptions: {}",
        command.words,
        arguments(command),
        flags.join(" ")
    )
}

fn usage(first: &str) -> String {
    let words: Vec<&str> = COMMANDS.iter().map(|own| own.words).collect();
    let inside = words.iter().filter(|own| own.split(' ').next() == Some(first));
    let inside: Vec<&&str> = inside.collect();
    let shown: Vec<&str> =
        if inside.is_empty() { words.clone() } else { inside.into_iter().copied().collect() };
    format!(
        "Usage: nomad <command> [options] [arguments]\n\nCommands:\n    agent\n    {}",
        shown.join("\n    ")
    )
}
