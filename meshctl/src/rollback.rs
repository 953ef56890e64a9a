//! `meshctl rollback`: an older version of a job in force again, with the guarantees of a deploy.
//!
//! In: a job, a version. Out: progress, an outcome. Called by [`crate::cli`].
//!
//! **Invariants**: it is the way out of everything that is half-way: the record of a deploy says what ran before it.

use clap::Args;
use nomad::Job;

use crate::console::Console;
use crate::deploy::event::Event;
use crate::deploy::flags::{FollowArgs, KnownArgs, Reach};
use crate::deploy::outcome::Outcome;
use crate::deploy::preflight::State as Known;
use crate::deploy::record::{Asked, Record, State};
use crate::deploy::report::Reporter;
use crate::deploy::work::Work;
use crate::deploy::{EXIT_CODES, access, conclude, diff};
use crate::failure::Failure;

/// Go back to an older version of a job, and follow it until every proxy knows.
///
/// Without --to-version: to what ran before the deploy that is under way, else to the newest older version whose
/// deployment was successful.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct RollbackArgs {
    /// The job.
    job: String,
    /// The version, as meshctl status lists them.
    #[arg(long, value_name = "N")]
    to_version: Option<u64>,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    known: KnownArgs,
    #[command(flatten)]
    follow: FollowArgs,
    #[command(flatten)]
    reach: Reach,
}

/// Rolls back.
///
/// # Errors
/// When there is nothing to go back to, and every outcome but that the older version runs.
pub async fn run(args: RollbackArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let mut report = Reporter::new(console, args.reach.output.is_json());
    let ended = roll_back(&args, &mut report).await;
    conclude(&mut report, &args.job, ended)
}

async fn roll_back(args: &RollbackArgs, report: &mut Reporter<'_, '_>) -> Result<Outcome, Failure> {
    let job = &args.job;
    let work = Work::open(job, &args.reach.nomad, &args.reach).await?;
    work.must_be_free(report.now())?;
    let Some(in_force) = &work.state.job else {
        return work.end_unknown(report.now()).await;
    };
    let (from, is_stopped) = (in_force.version(), in_force.is_stopped());
    let half_way = work.kept.as_ref().map(|own| &own.record);
    let to = target(job, args.to_version, half_way, &work.state)?;
    if to == Some(from) && !is_stopped {
        // What ran before is in force: only the record of what was half-way is left to take away.
        work.forget(report.now()).await?;
        return Ok(Outcome::Unchanged { version: from });
    }
    let question = match to {
        Some(to) => show(&work, to, report).await?,
        None => format!("Nothing ran before: stop {job}?"),
    };
    if !args.yes {
        report.console().confirm(&question)?;
    }
    let what = to.map_or_else(|| "nothing".to_owned(), |to| format!("version {to}"));
    let state = State::Reverting { from, to, why: "a rollback was asked for".to_owned() };
    let asked = (Asked::Rollback, what);
    let record = work.record(asked, args.known.gates(), state, report.now());
    work.carry_out(record, None, args.follow.limits(), report).await
}

/// Where to: the version asked for, else that before what is half-way, else the last good one; none: before the first.
fn target(
    job: &str,
    asked: Option<u64>,
    half_way: Option<&Record>,
    state: &Known,
) -> Result<Option<u64>, Failure> {
    let version = |at: u64| state.versions.iter().find(|own| own.version() == at);
    let to = match (asked, half_way) {
        (Some(asked), _) => Some(asked),
        // A way back that somebody began: on to where it was to go, from wherever it stands.
        (None, Some(Record { state: State::Reverting { to, .. }, .. })) => *to,
        (None, Some(Record { command: Asked::Deploy, before, .. })) => *before,
        // A stop that may not have reached Nomad: what ran then, and not one version further.
        (None, Some(Record { command: Asked::Stop, before: Some(before), .. }))
            if !version(*before).is_some_and(Job::is_stopped) =>
        {
            Some(*before)
        }
        _ => {
            let in_force = state.job.as_ref().map_or(0, Job::version);
            let stable = state.stable_before(in_force);
            Some(stable.ok_or_else(|| {
                Failure::Refused(format!(
                    "Nomad keeps no older version of {job} whose deployment was successful: name one with --to-version (meshctl status {job} lists them)"
                ))
            })?)
        }
    };
    let Some(to) = to else { return Ok(None) };
    match version(to) {
        Some(own) if own.is_stopped() => Err(Failure::Refused(format!(
            "version {to} of {job} is a stop: meshctl stop {job} stops it"
        ))),
        Some(_) => Ok(Some(to)),
        None => {
            let all = state.versions.iter().map(|own| own.version().to_string());
            let all = all.collect::<Vec<_>>().join(", ");
            Err(Failure::Refused(format!(
                "Nomad keeps no version {to} of {job}, only {all}: name one of them with --to-version"
            )))
        }
    }
}

/// Shows the difference to the older version; the question to ask.
async fn show(work: &Work, to: u64, report: &mut Reporter<'_, '_>) -> Result<String, Failure> {
    let job = &work.job;
    let question = format!("Go back to version {to} of {job}?");
    let Some(older) = work.state.versions.iter().find(|own| own.version() == to) else {
        return Ok(question);
    };
    let plan = work.nomad.plan(older).await.map_err(|error| access::failure(&error))?;
    report.note(&Event::Planned { job: job.to_owned(), plan: Box::new(plan.clone()) });
    if !report.is_json() {
        let has_color = report.console().has_color;
        report.console().print(&diff::tree(job, &plan, has_color))?;
    }
    Ok(question)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Nomad keeps these versions, the first is in force; a deploy that is half-way began with version 4 in force.
    fn goes_back(versions: &[u64], asked: Option<u64>) -> Result<Option<u64>, String> {
        let job = |version: &u64| Job { body: json!({"ID": "orders", "Version": version}) };
        let versions: Vec<Job> = versions.iter().map(job).collect();
        let state = Known { job: versions.first().cloned(), versions, deployments: Vec::new() };
        let half_way = Record::sample(State::Promoting { version: 5 });
        target("orders", asked, Some(&half_way), &state).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_version_that_nomad_keeps_no_longer_is_refused_before_anything_is_begun() {
        assert_eq!(goes_back(&[5, 4], None), Ok(Some(4)));
        assert_eq!(goes_back(&[5, 4, 3], Some(3)), Ok(Some(3)));
        for (asked, version) in [(None, 4), (Some(3), 3)] {
            let refused = goes_back(&[6, 5], asked).unwrap_err();
            let expected = format!(
                "Nomad keeps no version {version} of orders, only 6, 5: name one of them with --to-version"
            );
            assert_eq!(refused, expected);
        }
    }
}
