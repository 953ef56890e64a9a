//! What is typed beside the job: gates, patience, and where everybody is.
//!
//! In: arguments. Out: [`Gates`], [`Limits`], clients. Used by all commands about jobs.

use clap::{Args, ValueEnum};
use contract::duration::Span;

use super::access::NomadArgs;
use super::drive::Limits;
use super::probe::Probe;
use super::record::Gates;
use super::sli::SliRules;
use crate::failure::Failure;
use crate::replicas::{ApiArgs, Replicas};
use crate::show::OutputArgs;
use crate::store::ConsulArgs;

/// What has to hold before a promotion.
#[derive(Debug, Clone, Args)]
pub struct GateArgs {
    /// What has to hold before new instances are promoted (repeatable). That every proxy knows them always has to, unless
    /// it is `none`.
    #[arg(long = "gate", value_enum, value_delimiter = ',', default_value = "convergence")]
    gates: Vec<Gate>,
    /// Pass registered proxies that no control plane has connected.
    #[arg(long)]
    allow_unconnected: bool,
    /// New instances that may fail before the deploy does.
    #[arg(long, value_name = "N", default_value_t = 0)]
    tolerate: usize,
    /// --gate sli: how long requests to the new instances are awaited.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    sli_window: Span,
    /// --gate sli: requests that the new instances must have answered.
    #[arg(long, value_name = "N", default_value_t = 100)]
    sli_requests: u64,
    /// --gate sli: how much larger the share of 5xx may be than that of the old instances, in percentage points.
    #[arg(long, value_name = "POINTS", default_value_t = 1.0, value_parser = points)]
    sli_errors: f64,
    /// --gate sli: how many times the old instances' p99 the new ones' may be.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.5, value_parser = factor)]
    sli_p99: f64,
}

/// A difference between two shares.
fn points(text: &str) -> Result<f64, String> {
    let points = text.parse().ok().filter(|points| (0.0..=100.0).contains(points));
    points.ok_or_else(|| "write percentage points, 0 to 100".to_owned())
}

/// How many times a length of time.
fn factor(text: &str) -> Result<f64, String> {
    let factor = text.parse().ok().filter(|factor| (1.0..=1000.0).contains(factor));
    factor.ok_or_else(|| "write a factor, 1 to 1000".to_owned())
}

/// Whether proxies have to know, for commands that have no other gate.
#[derive(Debug, Clone, Args)]
pub struct KnownArgs {
    /// `none`: do not wait until every proxy knows, as when every control plane is away.
    #[arg(long, value_enum, default_value = "convergence")]
    gate: KnownGate,
    /// Pass registered proxies that no control plane has connected.
    #[arg(long)]
    allow_unconnected: bool,
}

/// Whether proxies have to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KnownGate {
    /// Every proxy has to.
    Convergence,
    /// Nobody asks.
    None,
}

impl KnownArgs {
    /// As gates.
    pub fn gates(&self) -> Gates {
        Gates {
            convergence: self.gate == KnownGate::Convergence,
            allow_unconnected: self.allow_unconnected,
            sli: None,
            manual: false,
            tolerated: 0,
        }
    }
}

/// A gate by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Gate {
    /// Every proxy knows the new instances.
    Convergence,
    /// They answer as well as the old: errors and p99, from the sidecars.
    Sli,
    /// A person says so: meshctl promote.
    Manual,
    /// Nothing, not even that proxies know.
    None,
}

/// How long it may take.
#[derive(Debug, Clone, Args)]
pub struct FollowArgs {
    /// How long it may take; a deploy that takes longer is reverted, and a way back, a stop or a batch ends with exit code 5.
    #[arg(long, value_name = "TIME", default_value = "15m")]
    timeout: Span,
    /// How long Nomad and Consul may be away in the middle; longer: exit code 5.
    #[arg(long, value_name = "TIME", default_value = "2m")]
    max_outage: Span,
}

/// Who is asked.
#[derive(Debug, Clone, Args)]
pub struct Reach {
    #[command(flatten)]
    pub nomad: NomadArgs,
    #[command(flatten)]
    pub consul: ConsulArgs,
    #[command(flatten)]
    pub api: ApiArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

impl Reach {
    /// The one who asks control planes and sidecars.
    ///
    /// # Errors
    /// When an address or file cannot be used.
    pub fn probe(&self) -> Result<Probe, Failure> {
        Probe::new(Replicas::new(&self.api)?, self.consul.client()?)
    }
}

impl FollowArgs {
    /// As limits.
    pub fn limits(&self) -> Limits {
        Limits {
            timeout: self.timeout.as_duration(),
            max_outage: self.max_outage.as_duration(),
            awaits_person: false,
        }
    }
}

impl GateArgs {
    /// As gates.
    pub fn gates(&self) -> Gates {
        let has = |gate| self.gates.contains(&gate);
        Gates {
            convergence: !has(Gate::None),
            allow_unconnected: self.allow_unconnected,
            sli: has(Gate::Sli).then(|| SliRules {
                window_seconds: self.sli_window.as_duration().as_secs(),
                min_requests: self.sli_requests,
                max_error_points: self.sli_errors,
                max_p99_ratio: self.sli_p99,
            }),
            manual: has(Gate::Manual),
            tolerated: self.tolerate,
        }
    }
}
