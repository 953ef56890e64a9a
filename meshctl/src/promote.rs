//! `meshctl promote`: a person's yes to what waits for it.
//!
//! In: a job whose new instances are there and known. Out: the rest of its deploy. Called by [`crate::cli`].
//!
//! **Invariants**: proxies are asked once more before anything is promoted. Where somebody still follows the deploy
//! (`--wait`), only the yes is given here, and that one goes on.

use std::time::Duration;

use clap::Args;
use nomad::NomadError;
use service::ErrorChain;
use tokio::time::Instant;

use crate::console::Console;
use crate::deploy::decide::{Patience, Source, Step, decide};
use crate::deploy::drive::Limits;
use crate::deploy::event::Event;
use crate::deploy::flags::{FollowArgs, KnownArgs, Reach};
use crate::deploy::kept::{self, Kept};
use crate::deploy::observe::Observer;
use crate::deploy::outcome::Outcome;
use crate::deploy::preflight;
use crate::deploy::record::{Asked, Gates, Record, State};
use crate::deploy::report::Reporter;
use crate::deploy::view::{View, needs_promotion, short};
use crate::deploy::work::Work;
use crate::deploy::{EXIT_CODES, access, conclude};
use crate::failure::Failure;

/// Between questions to control planes.
const PAUSE: Duration = Duration::from_secs(1);

/// Promote a job's new instances, and follow the rest of its deploy.
///
/// For a deploy that ended with exit code 4, and for deployments that were begun otherwise and wait for a promotion.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct PromoteArgs {
    /// The job.
    job: String,
    #[command(flatten)]
    known: KnownArgs,
    #[command(flatten)]
    follow: FollowArgs,
    #[command(flatten)]
    reach: Reach,
}

/// Promotes.
///
/// # Errors
/// When nothing waits, and every outcome but that the version runs.
pub async fn run(args: PromoteArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let mut report = Reporter::new(console, args.reach.output.is_json());
    let ended = promote(&args, &mut report).await;
    conclude(&mut report, &args.job, ended)
}

async fn promote(args: &PromoteArgs, report: &mut Reporter<'_, '_>) -> Result<Outcome, Failure> {
    let limits = args.follow.limits();
    let work = Work::open(&args.job, &args.reach.nomad, &args.reach).await?;
    let me = kept::me();
    let record = match &work.kept {
        Some(kept) => going_on(kept, args.known.gates())?,
        None => begun_elsewhere(&work, args.known.gates(), report.now())?,
    };
    if let Some(kept) = work.kept.as_ref().filter(|own| own.is_held(&me)) {
        let owner = kept.record.owner.name.clone();
        if let Some(in_force) = &work.state.job {
            preflight::control_planes(&work.probe, &record, in_force).await?;
        }
        approve(&work, &record, limits, report).await?;
        return Ok(Outcome::Promoted { owner });
    }
    work.carry_out(Record { owner: me, ..record }, None, limits, report).await
}

/// A deploy of ours that waits.
fn going_on(kept: &Kept, now: Gates) -> Result<Record, Failure> {
    let gates = kept.record.gates.clone().continued(now);
    let record = Record { gates, ..kept.record.clone() };
    match record.state {
        State::AwaitingPromotion { version, .. } | State::Promoting { version } => {
            Ok(Record { state: State::Promoting { version }, ..record })
        }
        other => Err(Failure::Refused(format!(
            "{} does not wait for a promotion, it is {}: meshctl status {} shows it",
            record.job,
            other.name().replace('_', " "),
            record.job
        ))),
    }
}

/// A deployment that waits and has no record.
fn begun_elsewhere(work: &Work, gates: Gates, now: u64) -> Result<Record, Failure> {
    let waiting = work.state.underway().filter(|own| needs_promotion(own));
    let Some(deployment) = waiting else {
        return Err(Failure::Refused(format!(
            "{0} has no deployment that waits for a promotion: meshctl status {0} shows what there is",
            work.job
        )));
    };
    let version = deployment.job_version;
    let asked = (Asked::Deploy, format!("version {version}"));
    let before = work.state.stable_before(version);
    Ok(Record {
        fingerprint: String::new(),
        before,
        ..work.record(asked, gates, State::Promoting { version }, now)
    })
}

/// Gives the yes, while somebody else holds the lock and follows. A Nomad that is away is awaited; what was asked for then
/// may have been done, and is looked at first.
async fn approve(
    work: &Work,
    record: &Record,
    limits: Limits,
    report: &mut Reporter<'_, '_>,
) -> Result<(), Failure> {
    let mut observer = Observer::new(work.nomad.clone(), work.job.clone());
    let (mut view, mut is_told) = (View::default(), false);
    let begun = Instant::now();
    let mut heard = begun;
    loop {
        let patience =
            Patience { elapsed: begun.elapsed(), timeout: limits.timeout, awaits_person: false };
        let mut found = look(work, record, patience, &mut observer, &mut view).await;
        if let Ok(Answer::Promote(deployment)) = &found {
            is_told = true;
            let object = short(deployment).to_owned();
            found = work.nomad.promote(deployment).await.map(|_| Answer::Promoted);
            if found.is_ok() {
                report.note(&Event::Told { what: "promote", object });
            }
        }
        match found {
            Ok(Answer::Promoted | Answer::Promote(_)) => return Ok(()),
            Ok(Answer::NotYet(on, what)) => {
                heard = Instant::now();
                report.note(&Event::Waiting { on: on.name(), what });
                match on {
                    Source::Nomad => observer.changed().await,
                    Source::Mesh | Source::Sidecars => tokio::time::sleep(PAUSE).await,
                }
            }
            Ok(Answer::Never(why)) => {
                return Err(Failure::Refused(format!(
                    "{0} is not promoted: {why}; {1} follows it, and meshctl status {0} shows how it ends",
                    record.job, record.owner.name
                )));
            }
            Err(error) if error.is_outage() && heard.elapsed() < limits.max_outage => {
                report.note(&Event::Outage(format!("{}; waiting for it", ErrorChain(&error))));
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) if is_told => {
                return Err(Failure::HalfWay(format!(
                    "{}; whether {1} is promoted is not known: meshctl status {1} shows it, and the same command promotes it if not",
                    ErrorChain(&error),
                    record.job
                )));
            }
            Err(error) => return Err(access::failure(&error)),
        }
    }
}

/// Whether it is time for the yes.
async fn look(
    work: &Work,
    record: &Record,
    patience: Patience,
    observer: &mut Observer,
    view: &mut View,
) -> Result<Answer, NomadError> {
    observer.read(view).await?;
    view.mesh = None;
    let mut step = decide(record, view, patience);
    if let Step::AskMesh(question) = step {
        let answer = work.probe.ask(&question, record.gates.allow_unconnected).await;
        view.mesh = Some((question, answer));
        step = decide(record, view, patience);
    }
    Ok(answer(record, view, step))
}

/// What a person's yes comes to.
#[derive(Debug, PartialEq)]
enum Answer {
    /// It is given.
    Promote(String),
    /// Somebody gave it already.
    Promoted,
    /// It comes too early.
    NotYet(Source, String),
    /// It comes too late: it fails, or is gone.
    Never(String),
}

fn answer(record: &Record, view: &View, step: Step) -> Answer {
    let deployment = record.state.version().and_then(|version| view.deployment_of(version));
    let is_promoted = deployment.is_some_and(|own| own.status != "failed" && !needs_promotion(own));
    match step {
        Step::Promote { deployment } => Answer::Promote(deployment),
        Step::Enter(State::Reverting { why, .. })
        | Step::End(Outcome::Failed { why } | Outcome::HalfWay { why, .. }) => Answer::Never(why),
        Step::End(Outcome::Deployed { .. }) => Answer::Promoted,
        _ if is_promoted => Answer::Promoted,
        Step::Wait { on, what } => Answer::NotYet(on, what),
        _ => Answer::NotYet(Source::Nomad, "Nomad goes on".to_owned()),
    }
}

#[cfg(test)]
mod tests;
