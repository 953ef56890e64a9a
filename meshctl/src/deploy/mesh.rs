//! Whether every proxy knows: questions to `/v1/convergence`, and what the replicas' answers come to.
//!
//! In: a job, its allocations, each replica's [`Convergence`]. Out: a [`Question`], a [`MeshAnswer`]. Pure.
//!
//! **Invariants**: every replica that answers has to agree. A registered proxy that no replica has connected holds up
//! the answer, because nobody knows what it knows. The same allocations give the same question.

use std::collections::BTreeSet;

use contract::api::Convergence;
use contract::name::ServiceKey;
use nomad::{Allocation, Job};
use serde_json::Value;

use super::view::short;

/// Instances that a question names at most as there, of each track; the last ones to change. An URL has room for 1,700 ids.
const HERE: usize = 700;
/// Instances that a question names at most as gone, the last ones to change.
const GONE: usize = 200;

/// A service of the mesh that a job registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshService {
    /// System and name.
    pub key: ServiceKey,
    /// The group whose instances it has.
    pub group: String,
    /// Whether its canaries say that they are, so that they get no ordinary requests.
    pub marks_canaries: bool,
}

/// What is to be known of each service: who is there, and who is not.
pub type Question = Vec<ServiceQuestion>;

/// What is to be known of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceQuestion {
    /// System and name.
    pub key: ServiceKey,
    /// Allocations that every proxy must know as canaries.
    pub canary: Vec<String>,
    /// Allocations that every proxy must know as those that take ordinary requests.
    pub stable: Vec<String>,
    /// Allocations that none may know any more.
    pub absent: Vec<String>,
}

/// What the replicas said, joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MeshAnswer {
    /// All know.
    Converged {
        /// Proxies that depend on the services.
        dependents: usize,
    },
    /// Not all: who and what is missing, a phrase each.
    Waiting(Vec<String>),
    /// No replica answers.
    Silent(String),
}

impl ServiceQuestion {
    /// The path that asks it.
    pub fn path(&self) -> String {
        format!(
            "/v1/convergence?service={}&system={}&canary={}&stable={}&absent={}",
            self.key.name,
            self.key.system,
            self.canary.join(","),
            self.stable.join(","),
            self.absent.join(",")
        )
    }
}

/// The mesh services that a job registers.
///
/// # Errors
/// The name of a service whose System is known at run time only.
pub fn services(job: &Job) -> Result<Vec<MeshService>, String> {
    let mut services = Vec::new();
    for group in job.groups() {
        let name = text(group, "Name").unwrap_or_default();
        let tasks = array(group, "Tasks");
        let of_tasks = tasks.flat_map(|task| array(task, "Services"));
        for service in array(group, "Services").chain(of_tasks) {
            let say = |key| said(service, "Meta", "Tags", key);
            let Some(system) = say("mesh_system") else { continue };
            if say("mesh_role") == Some("router") {
                continue;
            }
            let marks = said(service, "CanaryMeta", "CanaryTags", "mesh_track");
            let own_name = text(service, "Name").unwrap_or_default();
            match (system.parse(), own_name.parse()) {
                (Ok(system), Ok(own)) => services.push(MeshService {
                    key: ServiceKey { system, name: own },
                    group: name.to_owned(),
                    marks_canaries: marks == Some("canary"),
                }),
                _ => {
                    return Err(format!(
                        "service {own_name:?} of group {name:?} has mesh_system {system:?}: both must be names, known before it runs"
                    ));
                }
            }
        }
    }
    Ok(services)
}

/// The question whether every proxy knows those who are here, and none that are gone or going.
pub fn question(services: &[MeshService], here: &[&Allocation], gone: &[&Allocation]) -> Question {
    let ask = |service: &MeshService| {
        let is_own = |own: &&&Allocation| own.task_group == service.group;
        let is_canary = |own: &&&Allocation| service.marks_canaries && own.deployment_status.canary;
        ServiceQuestion {
            key: service.key.clone(),
            canary: ids(here.iter().filter(is_own).filter(is_canary), HERE),
            stable: ids(here.iter().filter(is_own).filter(|own| !is_canary(own)), HERE),
            // Of any group: a version may give the service to another one.
            absent: ids(gone.iter(), GONE),
        }
    };
    services.iter().map(ask).collect()
}

/// So many of the last ones to change, sorted.
fn ids<'a>(all: impl Iterator<Item = &'a &'a Allocation>, most: usize) -> Vec<String> {
    let mut all: Vec<(u64, &String)> = all.map(|own| (own.modify_index, &own.id)).collect();
    all.sort_unstable_by(|left, right| right.cmp(left));
    let ids: BTreeSet<&String> = all.into_iter().take(most).map(|(_, id)| id).collect();
    ids.into_iter().cloned().collect()
}

/// What the answers of all replicas to one question come to.
pub fn join(answers: &[Convergence], allow_unconnected: bool) -> MeshAnswer {
    let mut waiting = BTreeSet::new();
    for answer in answers {
        for lack in &answer.catalog_lacks {
            waiting.insert(match lack.split_once(' ') {
                Some((id, what)) => format!("{} {what}", short(id)),
                None => lack.clone(),
            });
        }
        for proxy in &answer.waiting {
            let lacks = proxy.resources.join(", ");
            waiting.insert(format!("proxy {} lacks {lacks}", short(&proxy.id)));
        }
    }
    if !allow_unconnected {
        let mut sets = answers.iter().map(|own| own.unconnected.iter().collect::<BTreeSet<_>>());
        let first = sets.next().unwrap_or_default();
        for id in sets.fold(first, |common, own| common.intersection(&own).copied().collect()) {
            waiting.insert(format!("proxy {} is registered and not connected", short(id)));
        }
    }
    if waiting.is_empty() {
        let dependents = answers.iter().map(|own| own.dependents).sum();
        MeshAnswer::Converged { dependents }
    } else {
        MeshAnswer::Waiting(waiting.into_iter().collect())
    }
}

/// What a service says under a key of the mesh: in its meta, or where Nomad registers it, in its tags.
fn said<'a>(service: &'a Value, meta: &str, tags: &str, key: &str) -> Option<&'a str> {
    if text(service, "Provider") != Some("nomad") {
        return text(service.get(meta)?, key);
    }
    let tags = array(service, tags).filter_map(Value::as_str);
    let pairs = tags.filter_map(|tag| tag.split_once('='));
    pairs.filter(|(own, _)| *own == key).map(|(_, value)| value).next()
}

fn array<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use contract::api::WaitingProxy;
    use serde_json::json;

    use super::*;

    fn answer() -> Convergence {
        Convergence {
            converged: true,
            generation: 1,
            dependents: 2,
            waiting: Vec::new(),
            catalog_lacks: Vec::new(),
            unconnected: Vec::new(),
        }
    }

    #[test]
    fn all_replicas_have_to_agree() {
        let (one, other) = (answer(), answer());
        assert_eq!(join(&[one, other], false), MeshAnswer::Converged { dependents: 4 });
        let behind = Convergence {
            catalog_lacks: vec!["0123456789 is not registered".to_owned()],
            waiting: vec![WaitingProxy {
                id: "a".to_owned(),
                resources: vec!["endpoints service:trading/orders (pending)".to_owned()],
            }],
            ..answer()
        };
        let waiting = [
            "01234567 is not registered",
            "proxy a lacks endpoints service:trading/orders (pending)",
        ];
        let waiting = waiting.map(str::to_owned).to_vec();
        assert_eq!(join(&[answer(), behind], false), MeshAnswer::Waiting(waiting));
    }

    #[test]
    fn a_proxy_that_no_replica_has_connected_holds_it_up_unless_it_may_not() {
        let lonely = |ids: &[&str]| Convergence {
            unconnected: ids.iter().map(|id| (*id).to_owned()).collect(),
            ..answer()
        };
        let answers = [lonely(&["a", "b"]), lonely(&["b", "c"])];
        let waiting = vec!["proxy b is registered and not connected".to_owned()];
        assert_eq!(join(&answers, false), MeshAnswer::Waiting(waiting));
        assert_eq!(join(&answers, true), MeshAnswer::Converged { dependents: 4 });
    }

    #[test]
    fn nobody_may_know_what_is_gone_although_its_group_has_another_name_now() {
        let key =
            ServiceKey { system: "trading".parse().unwrap(), name: "orders".parse().unwrap() };
        let service = MeshService { key, group: "web".to_owned(), marks_canaries: false };
        let of_group = |id: &str, group: &str| Allocation {
            id: id.to_owned(),
            task_group: group.to_owned(),
            ..Allocation::default()
        };
        let (new, other, old) =
            (of_group("new", "web"), of_group("x", "y"), of_group("old", "app"));
        let asked = question(&[service], &[&new, &other], &[&old]);
        assert_eq!(
            (&asked[0].stable, &asked[0].absent),
            (&vec!["new".to_owned()], &vec!["old".to_owned()])
        );
    }

    #[test]
    fn all_that_are_here_are_asked_about_and_of_what_is_gone_the_last_ones() {
        let key =
            ServiceKey { system: "trading".parse().unwrap(), name: "orders".parse().unwrap() };
        let service = MeshService { key, group: "web".to_owned(), marks_canaries: false };
        let all: Vec<Allocation> = (0..300)
            .map(|at| Allocation {
                id: format!("a{at}"),
                task_group: "web".to_owned(),
                modify_index: at,
                ..Allocation::default()
            })
            .collect();
        let all: Vec<&Allocation> = all.iter().collect();
        let asked = question(&[service], &all, &all).remove(0);
        assert_eq!((asked.stable.len(), asked.absent.len()), (300, GONE));
        assert!(asked.absent.contains(&"a299".to_owned()), "{asked:?}");
        assert!(!asked.absent.contains(&"a0".to_owned()), "{asked:?}");
    }

    #[test]
    fn services_of_groups_and_tasks_count_and_routers_do_not() {
        let service = |name: &str, meta: Value| json!({"Name": name, "Meta": meta});
        let body = json!({"TaskGroups": [{
            "Name": "web",
            "Services": [
                service("orders", json!({"mesh_system": "trading"})),
                service("plain", Value::Null),
                service("edge", json!({"mesh_system": "trading", "mesh_role": "router"})),
            ],
            "Tasks": [{"Services": [
                {"Name": "quotes", "Meta": {"mesh_system": "trading"}, "CanaryMeta": {"mesh_track": "canary"}},
                {"Name": "rates", "Provider": "nomad", "Tags": ["v1", "mesh_system=trading"],
                 "CanaryTags": ["mesh_system=trading", "mesh_track=canary"]}]}],
        }]});
        let found = services(&Job { body }).unwrap();
        let found: Vec<(String, bool)> =
            found.iter().map(|own| (own.key.to_string(), own.marks_canaries)).collect();
        let expected =
            [("trading/orders", false), ("trading/quotes", true), ("trading/rates", true)];
        assert_eq!(found, expected.map(|(key, marks)| (key.to_owned(), marks)));
        let body = json!({"TaskGroups": [{"Name": "web", "Services": [
            service("orders", json!({"mesh_system": "${NOMAD_META_system}"}))]}]});
        assert!(services(&Job { body }).unwrap_err().contains("orders"));
    }
}
