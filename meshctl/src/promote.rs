//! `meshctl promote`: a person's yes to what waits for it.
//!
//! In: a job whose new instances are there and known. Out: the rest of its deploy. Called by [`crate::cli`].
//!
//! **Invariants**: proxies are asked once more before anything is promoted. Where somebody still follows the deploy
//! (`--wait`), only the yes is given here, and that one goes on.

use clap::Args;
use nomad::NomadClient;

use crate::console::Console;
use crate::deploy::decide::{Patience, Source, Step, decide};
use crate::deploy::drive::Limits;
use crate::deploy::event::Event;
use crate::deploy::flags::{FollowArgs, KnownArgs, Reach};
use crate::deploy::lock::{self, Kept};
use crate::deploy::observe::Observer;
use crate::deploy::outcome::Outcome;
use crate::deploy::preflight::{self, State as Known};
use crate::deploy::probe::Probe;
use crate::deploy::record::{Asked, Record, State};
use crate::deploy::report::Reporter;
use crate::deploy::view::{View, needs_promotion, short};
use crate::deploy::{EXIT_CODES, access, carry_out, conclude};
use crate::failure::Failure;

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
    let PromoteArgs { job, known, follow, reach } = args;
    let nomad = reach.nomad.client()?;
    let consul = reach.consul.client()?;
    let key = reach.nomad.record_key(job);
    let kept = Kept::read(&consul, &key).await?;
    let state = Known::read(&nomad, job).await?;
    let probe = reach.probe()?;
    let me = lock::me();
    let record = match &kept {
        Some(kept) => going_on(kept)?,
        None => begun_elsewhere(job, known, &state, report)?,
    };
    if let Some(in_force) = &state.job {
        preflight::control_planes(&probe, &record, in_force).await?;
    }
    if let Some(kept) = &kept
        && kept.session.is_some()
        && !kept.is_orphaned(&me)
    {
        approve(&nomad, &probe, &record, follow.limits(), report).await?;
        return Ok(Outcome::Promoted { owner: kept.record.owner.name.clone() });
    }
    let record = Record { owner: me, ..record };
    report.note(&Event::Resumed(Box::new(record.clone())));
    let limits = follow.limits();
    carry_out(&nomad, probe, (&consul, &key), (record, None), limits, report).await
}

/// A deploy of ours that waits.
fn going_on(kept: &Kept) -> Result<Record, Failure> {
    let record = kept.record.clone();
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
fn begun_elsewhere(
    job: &str,
    known: &KnownArgs,
    state: &Known,
    report: &Reporter<'_, '_>,
) -> Result<Record, Failure> {
    let waiting = state.underway().filter(|own| needs_promotion(own));
    let Some(deployment) = waiting else {
        return Err(Failure::Refused(format!(
            "{job} has no deployment that waits for a promotion: meshctl status {job} shows what there is"
        )));
    };
    let version = deployment.job_version;
    let stable = state.versions.iter().find(|own| own.is_stable() && own.version() != version);
    Ok(Record {
        job: job.to_owned(),
        command: Asked::Deploy,
        owner: lock::me(),
        started: report.now(),
        what: format!("version {version}"),
        fingerprint: String::new(),
        before: stable.map(nomad::Job::version),
        gates: known.gates(),
        state: State::Promoting { version },
    })
}

/// Gives the yes, while somebody else holds the lock and follows.
async fn approve(
    nomad: &NomadClient,
    probe: &Probe,
    record: &Record,
    limits: Limits,
    report: &mut Reporter<'_, '_>,
) -> Result<(), Failure> {
    let refused = |error: nomad::NomadError| access::failure(&error);
    let mut observer = Observer::new(nomad.clone(), record.job.clone());
    let mut view = View::default();
    let begun = tokio::time::Instant::now();
    loop {
        observer.read(&mut view).await.map_err(refused)?;
        view.mesh = None;
        let patience =
            Patience { elapsed: begun.elapsed(), timeout: limits.timeout, awaits_person: false };
        let mut step = decide(record, &view, patience);
        if let Step::AskMesh(question) = step {
            let answer = probe.ask(&question, record.gates.allow_unconnected).await;
            view.mesh = Some((question, answer));
            step = decide(record, &view, patience);
        }
        match step {
            Step::Promote { deployment } => {
                nomad.promote(&deployment).await.map_err(refused)?;
                let object = short(&deployment).to_owned();
                report.note(&Event::Told { what: "promote", object });
                return Ok(());
            }
            Step::Wait { on: Source::Mesh, what } => {
                report.note(&Event::Waiting { on: "mesh", what });
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
            Step::Wait { what, .. } => {
                report.note(&Event::Waiting { on: "nomad", what });
                observer.changed().await;
            }
            // Promoted by somebody else, failing, or gone: whoever follows it says so.
            _ => return Ok(()),
        }
    }
}
