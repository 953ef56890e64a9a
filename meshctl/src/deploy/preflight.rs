//! What is to be known before anything is submitted: what runs, what speaks against it, whether somebody was here before.
//!
//! In: the job, Nomad's plan, a kept record. Out: a [`Verdict`], or a refusal that says what to do.
//!
//! **Invariants**: a refusal leaves everything as it was. What is half-way is gone on with only by the very same job.

use std::fmt::Write as _;

use nomad::{Deployment, Job, NomadClient, Plan, Query, UpdateCounts};
use xxhash_rust::xxh3::xxh3_128;

use super::DeployArgs;
use super::access;
use super::decide::no_room;
use super::diff::{Palette, counts};
use super::kept::Kept;
use super::mesh::{self, MeshService};
use super::outcome::Outcome;
use super::probe::Probe;
use super::record::{self, Asked, Record};
use super::strategy::{self, Strategy};
use super::view::short;
use super::work::Work;
use crate::failure::Failure;

/// The job as Nomad has it.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// In force.
    pub job: Option<Job>,
    /// Every version kept, newest first.
    pub versions: Vec<Job>,
    /// Its deployments.
    pub deployments: Vec<Deployment>,
}

/// What follows.
#[derive(Debug)]
pub enum Verdict {
    /// Nothing is to be done.
    Nothing(Outcome),
    /// A new deploy.
    Begin(Record),
    /// One that somebody began.
    GoOn(Record),
}

impl State {
    /// Asks Nomad.
    ///
    /// # Errors
    /// When Nomad does not answer or refuses.
    pub async fn read(nomad: &NomadClient, id: &str) -> Result<Self, Failure> {
        let failed = |error: nomad::NomadError| access::failure(&error);
        let Some(job) = nomad.job(id).await.map_err(failed)? else { return Ok(Self::default()) };
        let versions = nomad.versions(id).await.map_err(failed)?;
        let deployments: Vec<Deployment> =
            nomad.read(&Query::deployments_of(id)).await.map_err(failed)?.value;
        let created = job.create_index();
        let deployments =
            deployments.into_iter().filter(|own| own.create_index >= created).collect();
        Ok(Self { job: Some(job), versions, deployments })
    }

    /// The version in force, unless the job was stopped.
    pub fn running(&self) -> Option<&Job> {
        self.job.as_ref().filter(|job| !job.is_stopped())
    }

    /// The newest deployment of a version.
    pub fn deployment_of(&self, version: u64) -> Option<&Deployment> {
        let own = self.deployments.iter().filter(|own| own.job_version == version);
        own.max_by_key(|own| own.create_index)
    }

    /// Where a failed deploy goes back to: the version in force, or the newest stable one where that has failed.
    pub fn before(&self) -> Option<u64> {
        let job = self.running()?;
        let has_failed =
            self.deployment_of(job.version()).is_some_and(|own| own.status == "failed");
        let stable = self.stable_before(job.version()).filter(|_| has_failed);
        Some(stable.unwrap_or_else(|| job.version()))
    }

    /// The newest version before this one whose deployment was successful. A version that is a stop is none, although
    /// Nomad marks it as the one that was stopped.
    pub fn stable_before(&self, version: u64) -> Option<u64> {
        let is_one = |own: &&Job| own.is_stable() && !own.is_stopped() && own.version() < version;
        self.versions.iter().find(is_one).map(Job::version)
    }

    /// The deployment of the version in force, while it is not over.
    pub fn underway(&self) -> Option<&Deployment> {
        let version = self.running()?.version();
        self.deployment_of(version).filter(|own| !own.is_over())
    }
}

/// Tells whether two jobs are the same.
pub fn fingerprint(job: &Job) -> String {
    format!("{:032x}", xxh3_128(job.body.to_string().as_bytes()))
}

/// What is begun, gone on with, or refused.
pub(super) fn judge(
    args: &DeployArgs,
    fresh: Record,
    work: &Work,
    plan: &Plan,
    submission: &Job,
) -> Result<Verdict, Failure> {
    let state = &work.state;
    if args.dry_run {
        objections(args, plan, state, submission)?;
        return Ok(Verdict::Nothing(Outcome::Planned { changes: !plan.diff.is_empty() }));
    }
    if let Some(kept) = &work.kept {
        return go_on(fresh, kept);
    }
    if plan.diff.is_empty() {
        return in_force(fresh, state);
    }
    if let Some(other) = state.underway() {
        return Err(Failure::Refused(format!(
            "{}: deployment {} of version {} is under way and was not begun by meshctl: let it end, or end it with meshctl rollback {}",
            fresh.job,
            short(&other.id),
            other.job_version,
            fresh.job
        )));
    }
    objections(args, plan, state, submission)?;
    Ok(Verdict::Begin(fresh))
}

fn go_on(fresh: Record, kept: &Kept) -> Result<Verdict, Failure> {
    let record = &kept.record;
    if kept.is_held(&fresh.owner) {
        return Err(kept.refusal(&fresh.owner, fresh.started));
    }
    if record.command == Asked::Deploy && record.fingerprint == fresh.fingerprint {
        let gates = record.gates.clone().continued(fresh.gates);
        return Ok(Verdict::GoOn(Record { owner: fresh.owner, gates, ..record.clone() }));
    }
    let job = &record.job;
    let what = record.title();
    Err(Failure::Refused(format!(
        "{job}: {what}, begun by {}, is half-way ({}) and this is another one: finish that one by its own command, or end it with meshctl rollback {job}",
        record.owner.name,
        record.state.name().replace('_', " ")
    )))
}

/// Nothing would change: what is in force may still be on its way, or have failed.
fn in_force(fresh: Record, state: &State) -> Result<Verdict, Failure> {
    let version = state.job.as_ref().map_or(0, Job::version);
    let Some(deployment) = state.deployment_of(version) else {
        return Ok(Verdict::Nothing(Outcome::Unchanged { version }));
    };
    match deployment.status.as_str() {
        "successful" | "cancelled" => Ok(Verdict::Nothing(Outcome::Unchanged { version })),
        "failed" => Err(Failure::Refused(format!(
            "{}: version {version} is this file already, and its deployment failed ({}): go back with meshctl rollback {}, or change the file",
            fresh.job, deployment.status_description, fresh.job
        ))),
        _ => {
            let before = state.stable_before(version);
            let following = record::State::Following { version, evaluation: String::new() };
            Ok(Verdict::GoOn(Record { before, state: following, ..fresh }))
        }
    }
}

/// What speaks against submitting it.
fn objections(
    args: &DeployArgs,
    plan: &Plan,
    state: &State,
    submission: &Job,
) -> Result<(), Failure> {
    let id = submission.id();
    if let Some(why) = no_room(plan.failed_groups.iter())
        && !args.allow_unplaced
    {
        return Err(Failure::Refused(format!(
            "{id} has no place: {why}; nothing was submitted. Make room, ask for less, or pass --allow-unplaced"
        )));
    }
    let kind = submission.kind();
    if args.strategy != Strategy::Rolling && !matches!(kind, "service" | "") {
        return Err(Failure::Usage(format!(
            "{id} is of type {kind}, and --strategy {} is for services",
            args.strategy
        )));
    }
    let gates = args.gates.gates();
    let has = |count: fn(&UpdateCounts) -> u64| {
        plan.annotations.updates.values().any(|own| count(own) > 0)
    };
    if (gates.manual || gates.sli.is_some())
        && has(|own| own.destructive_update)
        && !has(|own| own.canary)
    {
        return Err(Failure::Usage(format!(
            "{id}: --gate sli and --gate manual hold back new instances beside the old, and this update has none: pass --strategy canary or blue-green"
        )));
    }
    if gates.convergence {
        mesh_services(submission)?;
    }
    let Some(running) = state.running() else { return Ok(()) };
    for (group, before) in running.counts() {
        let has_canaries = plan.annotations.updates.get(group).is_some_and(|own| own.canary > 0);
        let after = submission.counts().find(|(name, _)| *name == group);
        if let Some((_, after)) = after
            && after < before
            && has_canaries
        {
            return Err(Failure::Refused(format!(
                "{id}: group {group} goes from {before} to {after} instances in the same version that has canaries, and Nomad would end old instances before the new ones have proved themselves: change the count in a deploy of its own"
            )));
        }
    }
    Ok(())
}

/// What is to be known of gates that are asked for where there is nothing that they could hold back.
pub(super) fn idle_gates(args: &DeployArgs, plan: &Plan) -> Option<String> {
    let gates = args.gates.gates();
    let asked = match (gates.sli.is_some(), gates.manual) {
        (true, true) => "--gate sli and --gate manual hold",
        (true, false) => "--gate sli holds",
        (false, true) => "--gate manual holds",
        (false, false) => return None,
    };
    let is_held = |own: &UpdateCounts| own.canary > 0 || own.destructive_update > 0;
    let is_idle = !plan.diff.is_empty() && !plan.annotations.updates.values().any(is_held);
    is_idle.then(|| {
        format!("{asked} nothing back: no new instances come beside old ones, so nobody is asked")
    })
}

/// What the plan comes to, in words; lines that end.
pub(super) fn introduction(
    args: &DeployArgs,
    submission: &Job,
    plan: &Plan,
    state: &State,
) -> String {
    let Palette { bold, dim, plain, .. } = Palette::new(false);
    let id = submission.id();
    let mut text = String::new();
    for (group, own) in &plan.annotations.updates {
        // Writing to a String cannot fail.
        writeln!(text, "  {bold}group {group}{plain}: {}", counts(own)).unwrap_or_default();
    }
    let all = strategy::count(submission);
    let is_first = plan.annotations.updates.values().all(|own| own.canary == 0);
    let how = match (args.strategy, submission.kind()) {
        (_, "service") if is_first && state.running().is_none() => {
            format!("{all} at once, as there is nothing to take over from")
        }
        (_, "batch" | "sysbatch") => "a batch".to_owned(),
        (_, "system") => "one on each host".to_owned(),
        (Strategy::BlueGreen, _) => format!("blue-green, {all} beside the old"),
        (own, _) => match strategy::canaries(submission) {
            0 => format!("{own}, one after the other as its update block says"),
            some => format!("{own}, {some} of {all} first"),
        },
    };
    let from = match state.running() {
        Some(job) => format!("version {} is in force", job.version()),
        None => "nothing runs now".to_owned(),
    };
    writeln!(text, "{id}: {how}; {from}").unwrap_or_default();
    for warning in plan.warnings.lines().filter(|line| !line.trim().is_empty()) {
        writeln!(text, "{dim}Nomad warns: {warning}{plain}").unwrap_or_default();
    }
    text
}

/// The services about which proxies are asked.
fn mesh_services(job: &Job) -> Result<Vec<MeshService>, Failure> {
    let refuse = |why| Failure::Refused(format!("{}: {why}, or pass --gate none", job.id()));
    mesh::services(job).map_err(refuse)
}

/// Whether there is a control plane that can say what proxies know.
///
/// # Errors
/// When it is needed and none answers, or a service's System is known at run time only.
pub async fn control_planes(probe: &Probe, record: &Record, job: &Job) -> Result<(), Failure> {
    if !record.gates.convergence || mesh_services(job)?.is_empty() {
        return Ok(());
    }
    probe.is_anybody_there().await.map_err(|why| {
        Failure::Unreachable(format!(
            "no control plane answers, so nobody can say what proxies know ({why}); nothing was done: --api says where they are, --gate none does without"
        ))
    })
}
