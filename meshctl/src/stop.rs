//! `meshctl stop`: a job taken out of service, without a request lost.
//!
//! In: a job. Out: progress, an outcome. Called by [`crate::cli`].
//!
//! Nomad itself drains: it deregisters first, waits `shutdown_delay`, then stops. What is added here is the waiting: until
//! every instance is over and no proxy knows of one.
//!
//! **Invariants**: a job is purged only when nothing of it runs: Nomad collects what a purge leaves in its own time.

use clap::Args;

use crate::console::Console;
use crate::deploy::event::Event;
use crate::deploy::flags::{FollowArgs, KnownArgs, Reach};
use crate::deploy::lock::{self, Kept};
use crate::deploy::outcome::Outcome;
use crate::deploy::preflight::{self, State as Known};
use crate::deploy::record::{Asked, Record, State};
use crate::deploy::report::Reporter;
use crate::deploy::{EXIT_CODES, carry_out, conclude, forget, strategy};
use crate::failure::Failure;

/// Stop a job, and wait until nothing of it runs and no proxy knows of it.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct StopArgs {
    /// The job.
    job: String,
    /// Let Nomad forget the job and its versions, once nothing of it runs.
    #[arg(long)]
    purge: bool,
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

/// Stops.
///
/// # Errors
/// When there is no such job, and every outcome but that it is gone.
pub async fn run(args: StopArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let mut report = Reporter::new(console, args.reach.output.is_json());
    let ended = stop(&args, &mut report).await;
    conclude(&mut report, &args.job, ended)
}

async fn stop(args: &StopArgs, report: &mut Reporter<'_, '_>) -> Result<Outcome, Failure> {
    let StopArgs { job, yes, known, follow, reach, .. } = args;
    let purge = args.purge;
    let nomad = reach.nomad.client()?;
    let consul = reach.consul.client()?;
    let key = reach.nomad.record_key(job);
    let kept = Kept::read(&consul, &key).await?;
    let state = Known::read(&nomad, job).await?;
    let is_going_on = kept.as_ref().is_some_and(|own| own.record.command == Asked::Stop);
    let Some(in_force) = &state.job else {
        if !is_going_on {
            return Err(Failure::Refused(format!("Nomad knows no job {job}: nothing to stop")));
        }
        // An earlier stop got that far.
        forget(kept, (&consul, &key), report.now()).await?;
        return Ok(Outcome::Stopped { purged: purge });
    };
    let instances = strategy::count(in_force);
    if !*yes {
        let purge = if purge { " and forget its versions" } else { "" };
        let question = format!("Stop {job} ({instances} instances){purge}?");
        report.console().confirm(&question)?;
    }
    let record = Record {
        job: job.clone(),
        command: Asked::Stop,
        owner: lock::me(),
        started: report.now(),
        what: "a stop".to_owned(),
        fingerprint: "stop".to_owned(),
        before: Some(in_force.version()),
        gates: known.gates(),
        state: State::Stopping { purge },
    };
    let probe = reach.probe()?;
    preflight::control_planes(&probe, &record, in_force).await?;
    if let Some(kept) = kept {
        report.note(&Event::Resumed(Box::new(kept.record)));
    }
    let limits = follow.limits();
    carry_out(&nomad, probe, (&consul, &key), (record, None), limits, report).await
}
