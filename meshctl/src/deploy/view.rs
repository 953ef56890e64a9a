//! What is observed of a job: the input of [`super::decide`], and what progress is shown from.
//!
//! Filled by [`super::observe`] from Nomad's answers, by the driver from those of control planes and sidecars.
//!
//! **Invariants**: nothing here asks anybody. Allocations are sorted: newest version first, then by name and id.

use nomad::{Allocation, Deployment, Evaluation, Job};

use super::mesh::{MeshAnswer, Question};
use super::sli::Sli;

/// Everything that is known at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// The job as it is in force; none: Nomad does not know it.
    pub job: Option<Job>,
    /// Whether what is in force is what is to be: what is submitted, or gone back to; none: not asked, or not to be known.
    pub is_in_force: Option<bool>,
    /// The evaluation followed.
    pub evaluation: Option<Evaluation>,
    /// The job's deployments.
    pub deployments: Vec<Deployment>,
    /// The job's allocations.
    pub allocations: Vec<Allocation>,
    /// What control planes said last, and to which question.
    pub mesh: Option<(Question, MeshAnswer)>,
    /// How the new instances compare with the old.
    pub sli: Sli,
}

impl View {
    /// The newest deployment of a version.
    pub fn deployment_of(&self, version: u64) -> Option<&Deployment> {
        let of_version = self.deployments.iter().filter(|own| own.job_version == version);
        of_version.max_by_key(|own| own.create_index)
    }

    /// Allocations of a version.
    pub fn of_version(&self, version: u64) -> impl Iterator<Item = &Allocation> {
        self.allocations.iter().filter(move |own| own.job_version == version)
    }

    /// Allocations that still run, whatever is wanted of them.
    pub fn alive(&self) -> impl Iterator<Item = &Allocation> {
        self.allocations.iter().filter(|own| !own.is_over())
    }

    /// Allocations that are to run and are not over.
    pub fn wanted(&self) -> impl Iterator<Item = &Allocation> {
        self.alive().filter(|own| own.desired_status == "run")
    }

    /// Whether every group runs as often as it is to, in this version and in no other.
    pub fn is_settled(&self, version: u64) -> bool {
        let is_at_home = |own: &Allocation| own.job_version == version;
        let runs = |own: &&Allocation| is_at_home(own) && own.client_status == "running";
        let Some(job) = &self.job else { return false };
        let is_everywhere = job.kind() == "system";
        self.wanted().all(is_at_home)
            && job.counts().all(|(name, count)| {
                let of_group = || self.wanted().filter(|own| own.task_group == name);
                let running = of_group().filter(runs).count();
                if is_everywhere {
                    running == of_group().count() && running > 0
                } else {
                    u64::try_from(running).unwrap_or(u64::MAX) >= count
                }
            })
    }
}

/// Newest version first, then by name and id.
pub fn sort(allocations: &mut [Allocation]) {
    allocations.sort_by(|left, right| {
        (right.job_version, &left.name, &left.id).cmp(&(left.job_version, &right.name, &right.id))
    });
}

/// The first eight characters of an id, which is what people compare.
pub fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// Whether somebody has to promote the deployment before it goes on.
pub fn needs_promotion(deployment: &Deployment) -> bool {
    deployment.task_groups.values().any(|group| group.desired_canaries > 0 && !group.promoted)
}

/// Healthy canaries that are not promoted yet, and how many there are to be.
pub fn canaries(deployment: &Deployment) -> (u64, u64) {
    let waiting = deployment.task_groups.values();
    waiting.filter(|group| group.desired_canaries > 0 && !group.promoted).fold(
        (0, 0),
        |(healthy, wanted), group| {
            (
                healthy + group.healthy_allocs.min(group.desired_canaries),
                wanted + group.desired_canaries,
            )
        },
    )
}

/// Healthy instances of a deployment, and how many there are to be.
pub fn progress(deployment: &Deployment) -> (u64, u64) {
    let groups = deployment.task_groups.values();
    groups.fold((0, 0), |(healthy, wanted), group| {
        (healthy + group.healthy_allocs, wanted + group.desired_total)
    })
}
