//! `meshctl get` and `meshctl explain`: what the control planes know, joined over all replicas.
//!
//! In: answers of [`Replicas`]. Out: a table (`tables.rs`) or JSON. Called by [`crate::cli`].
//!
//! **Invariants**: a joined answer does not depend on the order in which replicas answered; replicas that disagree
//! about the catalog are named, because one of them is behind.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, Subcommand, ValueEnum};
use contract::api::{Explanation, Problem, ProxyView, ServiceView, Status, SystemView};
use contract::gateway::GatewayRoutes;
use contract::name::SystemName;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::console::Console;
use crate::failure::Failure;
use crate::replicas::{Answer, ApiArgs, Replicas};
use crate::store::Replaced;

mod tables;

pub(crate) use tables::{Rows, or_dash};

/// How results are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people; its layout may change.
    #[default]
    Table,
    /// JSON for programs.
    Json,
}

/// `-o`.
#[derive(Debug, Clone, Copy, Args)]
pub struct OutputArgs {
    /// How results are printed.
    #[arg(short = 'o', long = "output", value_enum, default_value_t = Format::Table, global = true)]
    format: Format,
}

impl OutputArgs {
    /// Whether a program is to read it.
    pub fn is_json(self) -> bool {
        self.format == Format::Json
    }
}

/// What can be listed.
#[derive(Debug, Subcommand)]
pub enum Listing {
    /// Systems: what each exposes, to whom, and whether a document is in force.
    Systems,
    /// Routes: which requests a System's gateway takes, where they go, and who may send them.
    ///
    /// In the order of matching: the first that takes a request decides.
    #[command(after_help = "\
Examples:
  meshctl get routes
  meshctl get routes trading
  meshctl get routes trading -o json")]
    Routes {
        /// Of this System alone.
        system: Option<SystemName>,
    },
    /// Services with the health of their instances.
    Services {
        /// One row per instance.
        #[arg(short, long)]
        instances: bool,
    },
    /// The control planes themselves: readiness, and how fresh what they know is.
    Status,
    /// Connected proxies and whether each has what it is to have.
    Proxies,
    /// What is rejected or held back, by name.
    Problems,
}

/// One control plane's own state.
#[derive(Debug, Serialize)]
struct ReplicaStatus {
    /// Its API address.
    replica: String,
    #[serde(flatten)]
    status: Status,
}

/// Lists `what`.
///
/// # Errors
/// When no control plane answers.
pub async fn list(
    what: &Listing,
    api: &ApiArgs,
    output: OutputArgs,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let replicas = Replicas::new(api)?;
    let width = console.width;
    match what {
        Listing::Systems => {
            let answers = replicas.ask::<Vec<SystemView>>("/v1/systems", console).await?;
            let systems = agreed(answers, |system| system.name.clone(), console)?;
            print(&systems, output, console, || tables::systems(&systems, width))
        }
        Listing::Routes { system } => {
            let path = match system {
                Some(system) => format!("/v1/routes?system={system}"),
                None => "/v1/routes".to_owned(),
            };
            let answers = replicas.ask::<Vec<GatewayRoutes>>(&path, console).await?;
            if let Some(system) = system
                && answers.iter().all(|answer| answer.value.is_none())
            {
                return Err(Failure::Refused(format!(
                    "no control plane that answers knows a System {system}: see meshctl get systems"
                )));
            }
            let routes = agreed(answers, |routes| routes.system.clone(), console)?;
            print(&routes, output, console, || tables::routes(&routes, width))
        }
        Listing::Services { instances } => {
            let answers = replicas.ask::<Vec<ServiceView>>("/v1/services", console).await?;
            let services = agreed(answers, |service| service.key.clone(), console)?;
            print(&services, output, console, || match instances {
                true => tables::instances(&services, width),
                false => tables::services(&services, width),
            })
        }
        Listing::Status => {
            let answers = replicas.ask::<Status>("/v1/status", console).await?;
            let states: Vec<ReplicaStatus> = answers
                .into_iter()
                .filter_map(|Answer { replica, value }| {
                    value.map(|status| ReplicaStatus { replica, status })
                })
                .collect();
            print(&states, output, console, || tables::status(&states, width))
        }
        Listing::Proxies => {
            let proxies = proxies(replicas.ask("/v1/proxies", console).await?);
            print(&proxies, output, console, || tables::proxies(&proxies, width))
        }
        Listing::Problems => {
            let answers = replicas.ask::<Vec<Problem>>("/v1/problems", console).await?;
            let problems: BTreeSet<Problem> =
                answers.into_iter().flat_map(|answer| answer.value).flatten().collect();
            let problems: Vec<Problem> = problems.into_iter().collect();
            print(&problems, output, console, || tables::problems(&problems, width))
        }
    }
}

/// Shows what one proxy gets, and why.
///
/// # Errors
/// When no control plane answers, or none has the proxy connected.
pub async fn explain(
    proxy: &str,
    api: &ApiArgs,
    output: OutputArgs,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let replicas = Replicas::new(api)?;
    let path = format!("/v1/proxies/{}/explain", escape(proxy));
    let answers = replicas.ask::<Explanation>(&path, console).await?;
    let Some(explanation) = answers.into_iter().find_map(|answer| answer.value) else {
        return Err(Failure::Refused(format!(
            "no control plane that answers has a proxy {proxy:?} connected: see meshctl get proxies"
        )));
    };
    let width = console.width;
    print(&explanation, output, console, || tables::explanation(&explanation, width))
}

/// Prints the kept versions of a document; `ages` says how long ago one was replaced.
///
/// # Errors
/// When nobody takes the output.
pub fn print_history(
    name: &SystemName,
    history: &[Replaced],
    ages: impl Fn(&Replaced) -> String,
    output: OutputArgs,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let width = console.width;
    print(history, output, console, || tables::history(name, history, ages, width))
}

/// Prints a value as a table, or as JSON.
pub(crate) fn print<T: Serialize + ?Sized>(
    value: &T,
    output: OutputArgs,
    console: &mut Console<'_>,
    table: impl FnOnce() -> String,
) -> Result<(), Failure> {
    let text = match output.format {
        Format::Table => table(),
        Format::Json => serde_json::to_string_pretty(value)
            .map_err(|error| Failure::Refused(format!("cannot write JSON: {error}")))?,
    };
    console.print(&format!("{text}\n"))
}

/// The catalog as replicas have it: they should agree; where they do not, the first one's view is shown.
fn agreed<T, K>(
    answers: Vec<Answer<Vec<T>>>,
    key: impl Fn(&T) -> K,
    console: &mut Console<'_>,
) -> Result<Vec<T>, Failure>
where
    T: DeserializeOwned + PartialEq,
    K: Ord,
{
    let mut shown: Option<(String, BTreeMap<K, T>)> = None;
    for answer in answers {
        let values = answer.value.unwrap_or_default();
        let view: BTreeMap<K, T> = values.into_iter().map(|value| (key(&value), value)).collect();
        match &shown {
            None => shown = Some((answer.replica, view)),
            Some((first, agreed)) if *agreed != view => console.remark(&format!(
                "{first} and {} disagree, the first is shown: one may be behind, ask again or see get problems",
                answer.replica
            ))?,
            Some(_) => {}
        }
    }
    Ok(shown.map(|(_, view)| view.into_values().collect()).unwrap_or_default())
}

/// Every connected proxy once: one that just moved to another replica is where its stream is youngest.
fn proxies(answers: Vec<Answer<Vec<ProxyView>>>) -> Vec<ProxyView> {
    let mut joined: BTreeMap<String, ProxyView> = BTreeMap::new();
    for proxy in answers.into_iter().filter_map(|answer| answer.value).flatten() {
        let is_older = |known: &ProxyView| known.connected_seconds <= proxy.connected_seconds;
        if !joined.get(&proxy.id).is_some_and(is_older) {
            joined.insert(proxy.id.clone(), proxy);
        }
    }
    joined.into_values().collect()
}

/// Makes a proxy's id one segment of a path.
fn escape(id: &str) -> String {
    id.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
