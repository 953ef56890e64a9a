//! `meshctl status`: a job as Nomad, the mesh and the deployer see it.
//!
//! In: a job. Out: a table or JSON. Called by [`crate::cli`].
//!
//! **Invariants**: it changes nothing. Who does not answer leaves dashes, not an error, as long as Nomad does.

use std::collections::BTreeMap;

use clap::Args;
use contract::api::{ProxyView, ServiceView};
use nomad::{Deployment, Job, Query};
use serde::Serialize;

use crate::console::Console;
use crate::deploy::access;
use crate::deploy::flags::Reach;
use crate::deploy::instance::Instance;
use crate::deploy::kept::{self, Kept};
use crate::deploy::preflight::State as Known;
use crate::deploy::record::Record;
use crate::deploy::view::{self, canaries, needs_promotion, progress};
use crate::failure::Failure;
use crate::replicas::Replicas;
use crate::show::print;

mod table;

/// Versions shown.
const VERSIONS: usize = 6;

/// Show a job: its versions, its deployment, its instances and what the mesh knows of them, and who deploys it.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0  shown
  1  there is no such job
  2  the command line makes no sense
  3  Nomad is out of reach")]
pub struct StatusArgs {
    /// The job.
    job: String,
    #[command(flatten)]
    reach: Reach,
}

impl StatusArgs {
    /// Whether a program is to read the answer.
    pub fn is_json(&self) -> bool {
        self.reach.output.is_json()
    }
}

/// Everything that is known.
#[derive(Debug, Serialize)]
struct StatusView {
    job: String,
    kind: String,
    status: String,
    version: u64,
    /// A deploy that is under way or half-way.
    deploy: Option<Record>,
    /// Whether somebody works on it now.
    locked: bool,
    versions: Vec<VersionView>,
    deployment: Option<DeploymentView>,
    instances: Vec<InstanceView>,
    /// Who did not answer.
    unknown: Vec<String>,
}

#[derive(Debug, Serialize)]
struct VersionView {
    version: u64,
    in_force: bool,
    /// Whether its deployment was successful.
    stable: bool,
    /// Its status; `stopped` where this version is the stop.
    deployment: Option<String>,
    description: String,
    /// Seconds since 1970.
    submitted: u64,
}

#[derive(Debug, Serialize)]
struct DeploymentView {
    id: String,
    version: u64,
    status: String,
    description: String,
    healthy: u64,
    wanted: u64,
    canaries_healthy: u64,
    canaries_wanted: u64,
    needs_promotion: bool,
}

#[derive(Debug, Serialize)]
struct InstanceView {
    #[serde(flatten)]
    instance: Instance,
    /// What control planes know of its registration: `healthy`, `unhealthy`, `draining`; none: nothing.
    registered: Option<String>,
    /// Whether its proxy is connected, and has everything: `current`, `2 pending`; none: not connected.
    proxy: Option<String>,
}

/// What control planes say of allocations.
#[derive(Debug, Default)]
struct Mesh {
    registered: BTreeMap<String, String>,
    proxies: BTreeMap<String, String>,
    unknown: Vec<String>,
}

/// Shows it.
///
/// # Errors
/// When Nomad does not answer, or has no such job.
pub async fn run(args: StatusArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let StatusArgs { job, reach } = args;
    let nomad = reach.nomad.client()?;
    let state = Known::read(&nomad, &job).await?;
    let mut mesh = ask_mesh(&reach).await?;
    let kept = match Kept::read(&reach.consul.client()?, &reach.nomad.record_key(&job)).await {
        Ok(kept) => kept,
        Err(failure) => {
            mesh.unknown.push(format!("Consul: {failure}"));
            None
        }
    };
    let Some(in_force) = &state.job else {
        return Err(Failure::Refused(match kept {
            Some(kept) => {
                let how = kept.describe(&kept::me(), console.unix_seconds());
                format!("Nomad knows no job {job}, but {how}: meshctl rollback {job} ends it")
            }
            None => format!("Nomad knows no job {job}"),
        }));
    };
    let allocations = nomad.read(&Query::allocations_of(&job)).await;
    let mut allocations = allocations.map_err(|error| access::failure(&error))?.value;
    view::sort(&mut allocations);
    let is_batch = matches!(in_force.kind(), "batch" | "sysbatch");
    // Of what is over only that tells something which failed not long ago.
    let is_recent = |own: &&nomad::Allocation| {
        let is_last = own.job_version + 1 >= in_force.version();
        !own.is_over() || is_batch || (is_last && own.client_status != "complete")
    };
    let instance = |own: &nomad::Allocation| InstanceView {
        registered: mesh.registered.get(&own.id).cloned(),
        proxy: mesh.proxies.get(&own.id).cloned(),
        instance: Instance::from(own),
    };
    let view = StatusView {
        kind: in_force.kind().to_owned(),
        status: if in_force.is_stopped() { "stopped" } else { in_force.status() }.to_owned(),
        version: in_force.version(),
        locked: kept.as_ref().is_some_and(|own| own.is_held(&kept::me())),
        deploy: kept.map(|own| own.record),
        versions: state.versions.iter().take(VERSIONS).map(|own| version(own, &state)).collect(),
        deployment: state.deployment_of(in_force.version()).map(deployment),
        instances: allocations.iter().filter(is_recent).map(instance).collect(),
        unknown: mesh.unknown,
        job,
    };
    let (now, width) = (console.unix_seconds(), console.width);
    print(&view, reach.output, console, || table::text(&view, now, width))
}

fn version(own: &Job, state: &Known) -> VersionView {
    let deployment = state.deployment_of(own.version());
    VersionView {
        version: own.version(),
        in_force: state.job.as_ref().map(Job::version) == Some(own.version()),
        stable: own.is_stable(),
        deployment: match deployment {
            _ if own.is_stopped() => Some("stopped".to_owned()),
            own => own.map(|own| own.status.clone()),
        },
        description: deployment.map_or_else(String::new, |own| own.status_description.clone()),
        submitted: own.body.get("SubmitTime").and_then(serde_json::Value::as_u64).unwrap_or(0)
            / 1_000_000_000,
    }
}

fn deployment(own: &Deployment) -> DeploymentView {
    let ((healthy, wanted), (canaries_healthy, canaries_wanted)) = (progress(own), canaries(own));
    DeploymentView {
        id: own.id.clone(),
        version: own.job_version,
        status: own.status.clone(),
        description: own.status_description.clone(),
        healthy,
        wanted,
        canaries_healthy,
        canaries_wanted,
        needs_promotion: !own.is_over() && needs_promotion(own),
    }
}

async fn ask_mesh(reach: &Reach) -> Result<Mesh, Failure> {
    let replicas = Replicas::new(&reach.api)?;
    let mut mesh = Mesh::default();
    for (replica, answer) in replicas.ask_each::<Vec<ServiceView>>("/v1/services").await {
        match answer {
            Ok(services) => {
                let all = services.unwrap_or_default().into_iter().flat_map(|own| own.instances);
                mesh.registered
                    .extend(all.filter_map(|own| own.instance.map(|id| (id, own.health))));
            }
            Err(why) => mesh.unknown.push(format!("{replica}: {why}")),
        }
    }
    for (_, answer) in replicas.ask_each::<Vec<ProxyView>>("/v1/proxies").await {
        // Who does not answer was named above.
        for proxy in answer.ok().flatten().unwrap_or_default() {
            let pending: usize = proxy.types.iter().map(|own| own.pending).sum();
            let state =
                if pending == 0 { "current".to_owned() } else { format!("{pending} pending") };
            mesh.proxies.insert(proxy.id, state);
        }
    }
    Ok(mesh)
}
