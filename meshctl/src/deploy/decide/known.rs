//! What has to hold outside of Nomad: proxies know, sidecars answer well, a person agrees.

use nomad::Allocation;

use super::super::mesh::{self, MeshAnswer};
use super::super::record::State;
use super::super::sli::Sli;
use super::{Case, Source, Step};

impl Case<'_> {
    /// `None` once every proxy knows the version's instances and none of those `gone`.
    pub(super) fn until_known(&self, version: u64, gone: &[&Allocation]) -> Option<Step> {
        let services = self.view.job.as_ref().map(mesh::services)?.unwrap_or_default();
        if !self.record.gates.convergence || services.is_empty() {
            return None;
        }
        let here: Vec<&Allocation> = self
            .view
            .of_version(version)
            .filter(|own| own.desired_status == "run" && own.client_status == "running")
            .collect();
        let question = mesh::question(&services, &here, gone);
        match &self.view.mesh {
            Some((asked, answer)) if *asked == question => match answer {
                MeshAnswer::Converged { .. } => None,
                MeshAnswer::Waiting(lacks) => Some(self.wait(Source::Mesh, lacks.join("; "))),
                MeshAnswer::Silent(why) => Some(self.wait(Source::Mesh, why.clone())),
            },
            _ => Some(Step::AskMesh(question)),
        }
    }

    /// Allocations that this deploy has ended or is ending.
    pub(super) fn gone(&self, version: u64) -> Vec<&Allocation> {
        let since = self.view.deployment_of(version).map_or(0, |own| own.create_index);
        let all = self.view.allocations.iter();
        let is_gone = |own: &&Allocation| own.is_over() || own.desired_status != "run";
        all.filter(is_gone).filter(|own| !own.is_over() || own.modify_index >= since).collect()
    }

    /// What is left to hold once every proxy knows.
    pub(super) fn gates(&self, version: u64) -> Step {
        if self.record.gates.sli.is_some() {
            match &self.view.sli {
                Sli::NotMeasured => return Step::Measure { version },
                Sli::Measuring(how) => return self.wait(Source::Sidecars, how.clone()),
                Sli::Breached(why) => return self.turn_back(version, why.clone()),
                Sli::Undecided(why) => {
                    return Step::Enter(State::AwaitingPromotion { version, why: why.clone() });
                }
                Sli::Passed(_) => {}
            }
        }
        Step::Enter(if self.record.gates.manual {
            State::AwaitingPromotion { version, why: "--gate manual".to_owned() }
        } else {
            State::Promoting { version }
        })
    }
}
