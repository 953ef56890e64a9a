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
use crate::deploy::lock::{self, Kept};
use crate::deploy::outcome::Outcome;
use crate::deploy::preflight::{self, State as Known};
use crate::deploy::record::{Asked, Record, State};
use crate::deploy::report::Reporter;
use crate::deploy::{EXIT_CODES, access, carry_out, conclude, diff, forget};
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
    let RollbackArgs { job, to_version, yes, known, follow, reach } = args;
    let nomad = reach.nomad.client()?;
    let consul = reach.consul.client()?;
    let key = reach.nomad.record_key(job);
    let kept = Kept::read(&consul, &key).await?;
    let state = Known::read(&nomad, job).await?;
    let Some(in_force) = &state.job else {
        return Err(Failure::Refused(format!("Nomad knows no job {job}")));
    };
    let target = target(job, *to_version, kept.as_ref(), &state)?;
    let version = in_force.version();
    let (from, to) = match &target {
        Target::Version(to) if *to == version && !in_force.is_stopped() => {
            // What ran before is in force: only the record of what was half-way is left to take away.
            forget(kept, (&consul, &key), report.now()).await?;
            return Ok(Outcome::Unchanged { version });
        }
        Target::Version(to) => (version, Some(*to)),
        Target::Nothing => (version, None),
        Target::GoOn { from, to } => (*from, *to),
    };
    let question = match to {
        Some(to) => show(job, to, &state, &nomad, report).await?,
        None => format!("Nothing ran before: stop {job}?"),
    };
    if !*yes {
        report.console().confirm(&question)?;
    }
    let record = Record {
        job: job.clone(),
        command: Asked::Rollback,
        owner: lock::me(),
        started: report.now(),
        what: to.map_or_else(|| "nothing".to_owned(), |to| format!("version {to}")),
        fingerprint: format!("rollback {to:?}"),
        before: Some(version),
        gates: known.gates(),
        state: State::Reverting { from, to, why: "a rollback was asked for".to_owned() },
    };
    let probe = reach.probe()?;
    preflight::control_planes(&probe, &record, in_force).await?;
    if let Some(kept) = kept {
        report.note(&Event::Resumed(Box::new(kept.record)));
    }
    let limits = follow.limits();
    carry_out(&nomad, probe, (&consul, &key), (record, None), limits, report).await
}

/// Where to.
enum Target {
    Version(u64),
    /// To before the first deploy.
    Nothing,
    /// A way back that somebody began.
    GoOn {
        from: u64,
        to: Option<u64>,
    },
}

fn target(
    job: &str,
    asked: Option<u64>,
    kept: Option<&Kept>,
    state: &Known,
) -> Result<Target, Failure> {
    if let Some(asked) = asked {
        let versions: Vec<u64> = state.versions.iter().map(Job::version).collect();
        if versions.contains(&asked) {
            return Ok(Target::Version(asked));
        }
        let kept: Vec<String> = versions.iter().map(ToString::to_string).collect();
        return Err(Failure::Refused(format!(
            "Nomad keeps no version {asked} of {job}, only {}",
            kept.join(", ")
        )));
    }
    match kept.map(|own| &own.record) {
        Some(Record { state: State::Reverting { from, to, .. }, .. }) => {
            let in_force = state.job.as_ref().map_or(*from, Job::version);
            let is_over =
                |own: &nomad::Deployment| matches!(own.status.as_str(), "failed" | "cancelled");
            let has_failed =
                in_force != *from && state.deployment_of(in_force).is_some_and(is_over);
            return Ok(match to {
                // The way back failed, too: once more, from where it stands.
                Some(to) if has_failed => Target::Version(*to),
                to => Target::GoOn { from: *from, to: *to },
            });
        }
        Some(Record { command: Asked::Deploy, before, .. }) => {
            return Ok(before.map_or(Target::Nothing, Target::Version));
        }
        _ => {}
    }
    let in_force = state.job.as_ref().map_or(0, Job::version);
    let is_older = |own: &&Job| own.is_stable() && own.version() < in_force;
    match state.versions.iter().find(is_older) {
        Some(stable) => Ok(Target::Version(stable.version())),
        None => Err(Failure::Refused(format!(
            "Nomad keeps no older version of {job} whose deployment was successful: name one with --to-version (meshctl status {job} lists them)"
        ))),
    }
}

/// Shows the difference to the older version; the question to ask.
async fn show(
    job: &str,
    to: u64,
    state: &Known,
    nomad: &nomad::NomadClient,
    report: &mut Reporter<'_, '_>,
) -> Result<String, Failure> {
    let Some(older) = state.versions.iter().find(|own| own.version() == to) else {
        return Ok(format!("Go back to version {to} of {job}?"));
    };
    let plan = nomad.plan(older).await.map_err(|error| access::failure(&error))?;
    report.note(&Event::Planned { job: job.to_owned(), plan: Box::new(plan.clone()) });
    if !report.is_json() {
        let has_color = report.console().has_color;
        report.console().print(&diff::tree(job, &plan, has_color))?;
    }
    Ok(format!("Go back to version {to} of {job}?"))
}
