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
use crate::deploy::flags::{FollowArgs, KnownArgs, Reach};
use crate::deploy::outcome::Outcome;
use crate::deploy::record::{Asked, State};
use crate::deploy::report::Reporter;
use crate::deploy::work::Work;
use crate::deploy::{EXIT_CODES, conclude, strategy};
use crate::failure::Failure;

/// Stop a job, and wait until nothing of it runs and no proxy knows of it.
///
/// Nomad deregisters its instances first and lets them answer what they have. A deploy that is half-way is over with it.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct StopArgs {
    /// The job.
    job: String,
    /// Let Nomad forget the job and its versions, once nothing of it runs: then there is no way back.
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
    let (job, purge) = (&args.job, args.purge);
    let work = Work::open(job, &args.reach.nomad, &args.reach).await?;
    work.must_be_free(report.now())?;
    let Some(in_force) = &work.state.job else {
        return work.end_unknown(report.now()).await;
    };
    if !args.yes {
        let instances = strategy::count(in_force);
        let purge = if purge { " and forget its versions" } else { "" };
        report.console().confirm(&format!("Stop {job} ({instances} instances){purge}?"))?;
    }
    let asked = (Asked::Stop, "a stop".to_owned());
    let state = State::Stopping { purge };
    let record = work.record(asked, args.known.gates(), state, report.now());
    work.carry_out(record, None, args.follow.limits(), report).await
}
