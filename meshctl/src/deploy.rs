//! `meshctl deploy`: a job's file → the version running, known to every proxy; or what ran before, running again.
//!
//! In: a file, flags. Out: progress, an [`Outcome`]. Called by [`crate::cli`]; [`crate::promote`], [`crate::rollback`],
//! [`crate::stop`] and [`crate::status`] use its parts.
//!
//! ```text
//!  source ─▶ strategy ─▶ plan ─▶ diff shown ─▶ lock ─▶ drive ─▶ outcome
//!                                                       │  ▲
//!                              observe, probe ─▶ View ─▶ decide ─▶ Step
//! ```
//!
//! | module | does |
//! |---|---|
//! | [`source`], [`strategy`], [`preflight`] | the job that is submitted, and what speaks against it |
//! | [`decide`] | the judgement: pure |
//! | [`drive`], [`observe`], [`probe`], [`evidence`] | asking and doing |
//! | [`flags`], [`access`] | what is typed, and who is asked |
//! | [`work`] | what every command about a job begins and ends with |
//! | [`lock`], [`kept`], [`record`] | one at a time, and going on after a kill |
//! | [`view`], [`mesh`], [`sli`], [`instance`], [`outcome`] | what is known |
//! | [`event`], [`report`], [`live`], [`diff`] | what is shown |
//!
//! **Invariants**: nothing is submitted that was not shown; after an error the record names what is left.

use clap::Args;

use crate::console::Console;
use crate::failure::Failure;

pub mod access;
pub mod decide;
pub mod diff;
pub mod drive;
pub mod event;
pub mod evidence;
pub mod flags;
pub mod instance;
pub mod kept;
pub mod live;
pub mod lock;
pub mod mesh;
pub mod observe;
pub mod outcome;
pub mod preflight;
pub mod probe;
pub mod record;
pub mod report;
pub mod sli;
pub mod source;
pub mod strategy;
#[cfg(test)]
pub(crate) mod testing;
pub mod view;
pub mod work;

use self::drive::Limits;
use self::event::Event;
use self::flags::{FollowArgs, GateArgs, Reach};
use self::outcome::Outcome;
use self::preflight::Verdict;
use self::record::{Asked, Record, State};
use self::report::Reporter;
use self::source::JobArgs;
use self::strategy::Strategy;
use self::work::Work;

/// Shown below the help of every command about jobs.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done, or nothing was to do
  1  refused or failed, and nothing is left half done (a failed deploy that was reverted, too)
  2  the command line makes no sense
  3  Nomad, Consul or every control plane is out of reach, and nothing was begun
  4  waiting for a person: meshctl promote JOB, or meshctl rollback JOB
  5  half-way: something is left that a person must look at; the message names the state, meshctl status JOB shows it

The whole walk: docs/deploying.md.";

/// Bring a job's new version into service, without losing a request.
///
/// Shows what would change, submits it with check-and-set, and follows it: new instances healthy, known to every proxy,
/// the gates passed, promoted, rolled out, the old ones gone from every proxy. When something fails, what ran before
/// runs again. One deploy per job at a time; killed at any point, the same command goes on where it was: what was waived
/// then or is waived now (--gate none, --allow-unconnected, --tolerate) holds nothing up, what was asked for still holds.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that is typed by itself")]
pub struct DeployArgs {
    #[command(flatten)]
    job: JobArgs,
    /// How the new version takes over.
    #[arg(long, value_enum, default_value_t)]
    strategy: Strategy,
    /// New instances of each group that go first, with --strategy canary.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    canaries: u64,
    #[command(flatten)]
    gates: GateArgs,
    /// Show what would change, and end.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
    /// Submit it although Nomad has no place for all of it now.
    #[arg(long)]
    allow_unplaced: bool,
    /// Wait for a person's promotion in place of ending with exit code 4.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    follow: FollowArgs,
    #[command(flatten)]
    reach: Reach,
}

/// Deploys.
///
/// # Errors
/// Every outcome but that the version runs; its exit code goes with it.
pub async fn run(args: DeployArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let mut report = Reporter::new(console, args.reach.output.is_json());
    let mut job = args.job.name();
    let ended = deploy(&args, &mut job, &mut report).await;
    conclude(&mut report, &job, ended)
}

/// `job` is named as soon as its file was read.
async fn deploy(
    args: &DeployArgs,
    job: &mut String,
    report: &mut Reporter<'_, '_>,
) -> Result<Outcome, Failure> {
    let mut submission = args.job.job(&args.reach.nomad.client()?, report.console()).await?;
    let place = args.reach.nomad.for_job(&mut submission)?;
    args.strategy.apply(&mut submission, args.canaries);
    let id = submission.id().to_owned();
    job.clone_from(&id);
    let work = Work::open(&id, &place, &args.reach).await?;
    let plan = work.nomad.plan(&submission).await.map_err(|error| access::failure(&error))?;
    report.note(&Event::Planned { job: id.clone(), plan: Box::new(plan.clone()) });
    if !report.is_json() {
        let text = preflight::introduction(args, &submission, &plan, &work.state);
        let tree = diff::tree(&id, &plan, report.console().has_color);
        report.console().print(&format!("{tree}{text}"))?;
    }
    if let Some(remark) = preflight::idle_gates(args, &plan) {
        report.note(&Event::Remark(remark));
    }
    let asked = (Asked::Deploy, args.job.name());
    let state = State::Submitting { index: plan.job_modify_index };
    let fresh = Record {
        fingerprint: preflight::fingerprint(&submission),
        before: work.state.before(),
        ..work.record(asked, args.gates.gates(), state, report.now())
    };
    let record = match preflight::judge(args, fresh, &work, &plan, &submission)? {
        Verdict::Nothing(outcome) => return Ok(outcome),
        Verdict::Begin(record) => {
            if !args.yes {
                report.console().confirm(&format!("Deploy {id}?"))?;
            }
            record
        }
        Verdict::GoOn(record) => record,
    };
    let limits = Limits { awaits_person: args.wait, ..args.follow.limits() };
    work.carry_out(record, Some(submission), limits, report).await
}

/// Says how a command ended.
///
/// # Errors
/// Every outcome that is not what was asked for, and every failure.
pub fn conclude(
    report: &mut Reporter<'_, '_>,
    job: &str,
    ended: Result<Outcome, Failure>,
) -> Result<(), Failure> {
    match ended {
        Ok(outcome) => {
            report.end(job, &outcome);
            outcome.into_result(job)
        }
        Err(failure) => {
            report.refuse(job, &failure);
            Err(failure)
        }
    }
}
