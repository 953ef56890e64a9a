//! All pipelines: one for each destination, started, restarted and ended as the configuration says.
//!
//! In: the newest good [`LogsConfig`]. Out: running pipelines. A task of the process.
//!
//! **Invariants**: what a new configuration does not touch goes on undisturbed; new rules and routes reach a running pipeline
//! without a restart; a destination that cannot begin is tried again and holds up no other; a pipeline that ends unasked ends
//! the process with its name.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use service::ErrorChain;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, warn};

use crate::instances::Instances;
use crate::logs::config::{DestinationConfig, LogsConfig};
use crate::logs::deliver::metrics::DeliverMetrics;
use crate::logs::deliver::{Context, Output};
use crate::logs::pipeline::metrics::LogMetrics;
use crate::logs::pipeline::{self, Decisions, HostSource, PipelineError, Setup};
use crate::logs::shape::Now;
use crate::logs::store::{Store, StoreError};

/// Pause before a destination that could not begin is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// Why the logs part ended.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The state directory.
    #[error("cannot keep positions")]
    Store(#[from] StoreError),
    /// A pipeline.
    #[error("the pipeline of destination {name} ended")]
    Pipeline {
        /// The destination.
        name: String,
        /// Why.
        #[source]
        source: PipelineError,
    },
    /// A pipeline's task panicked; the message is on standard error.
    #[error("a pipeline panicked")]
    Panicked(#[source] JoinError),
}

/// Rounds of each pipeline's thread, for the watchdog and for readiness.
#[derive(Debug, Clone, Default)]
pub struct Beats(Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>);

impl Beats {
    /// The rounds so far, by destination.
    pub fn read(&self) -> BTreeMap<String, u64> {
        let beats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        beats.iter().map(|(name, count)| (name.clone(), count.load(Ordering::Relaxed))).collect()
    }

    fn start(&self, name: &str) -> Arc<AtomicU64> {
        let count = Arc::<AtomicU64>::default();
        let mut beats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        beats.insert(name.to_owned(), Arc::clone(&count));
        count
    }

    fn stop(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

/// What pipelines are made with, beside the configuration.
#[derive(Debug, Clone)]
pub struct World {
    /// What pipelines count.
    pub metrics: LogMetrics,
    /// What outputs count.
    pub deliver: DeliverMetrics,
    /// The instances of this host.
    pub instances: watch::Receiver<Arc<Instances>>,
    /// What this host calls itself.
    pub host: Arc<str>,
    /// The process's clocks.
    pub clock: fn() -> Now,
    /// Another number each time.
    pub random: fn() -> u64,
    /// How long delivery may go on after a stop.
    pub grace: Duration,
    /// Rounds of the pipelines.
    pub beats: Beats,
}

/// The pipelines.
#[derive(Debug)]
pub struct Logs {
    world: World,
    store: Arc<Store>,
    running: BTreeMap<String, Running>,
    tasks: JoinSet<(String, Result<(), PipelineError>)>,
}

#[derive(Debug)]
struct Running {
    config: DestinationConfig,
    decisions: watch::Sender<Decisions>,
    stop: CancellationToken,
}

impl Logs {
    /// Takes the state directory.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn open(state: &Path, world: World) -> Result<Self, LogsError> {
        let store = Arc::new(Store::open(state)?);
        Ok(Self { world, store, running: BTreeMap::new(), tasks: JoinSet::new() })
    }

    /// Runs until shutdown.
    ///
    /// # Errors
    /// When a pipeline ends unasked.
    pub async fn run(
        mut self,
        mut configs: watch::Receiver<Arc<LogsConfig>>,
        shutdown: CancellationToken,
    ) -> Result<(), LogsError> {
        loop {
            let config = Arc::clone(&configs.borrow_and_update());
            self.apply(&config).await?;
            let is_missing = config.destinations.len() > self.running.len();
            tokio::select! {
                () = shutdown.cancelled() => break,
                // The sender lives as long as the process.
                Ok(()) = configs.changed() => {}
                () = tokio::time::sleep(AGAIN), if is_missing => {}
                Some(ended) = self.tasks.join_next() => self.unasked(ended)?,
            }
        }
        let names: Vec<String> = self.running.keys().cloned().collect();
        self.end(&names).await
    }

    /// Makes the pipelines be what the configuration says.
    async fn apply(&mut self, config: &LogsConfig) -> Result<(), LogsError> {
        let is_over = |name: &String, running: &Running| {
            config.destinations.get(name).is_none_or(|new| *new != running.config)
        };
        let over = self.running.iter().filter(|(name, running)| is_over(name, running));
        let over: Vec<String> = over.map(|(name, _)| name.clone()).collect();
        self.end(&over).await?;
        for (name, destination) in &config.destinations {
            let decisions = config.decisions(name);
            match self.running.get(name) {
                Some(running) => drop(running.decisions.send_replace(decisions)),
                None => self.start(name, destination, decisions),
            }
        }
        Ok(())
    }

    fn start(&mut self, name: &str, config: &DestinationConfig, decisions: Decisions) {
        let context = Context {
            name: Arc::from(name),
            host: Arc::clone(&self.world.host),
            metrics: self.world.deliver.destination(name),
            seed: (self.world.random)(),
        };
        let output = match Output::open(config.output.clone(), context) {
            Ok(output) => output,
            Err(error) => {
                warn!(destination = name, error = %ErrorChain(&error), "The destination cannot begin; it is tried again");
                return;
            }
        };
        info!(destination = name, "Delivering logs");
        let (decisions, decisions_out) = watch::channel(decisions);
        let stop = CancellationToken::new();
        let setup = Setup {
            name: Arc::from(name),
            output,
            decisions: decisions_out,
            limits: config.limits,
            pace: config.pace,
            spool_bytes: config.spool_bytes,
            instances: self.world.instances.clone(),
            metrics: self.world.metrics.pipeline(name),
            clock: self.world.clock,
            grace: self.world.grace,
            beats: self.world.beats.start(name),
            stop: stop.clone(),
        };
        let (sources, clock) = (config.sources.clone(), self.world.clock);
        let open = move |positions: &_| HostSource::open(&sources, positions, clock().realtime_us);
        let work = pipeline::run(setup, Arc::clone(&self.store), open);
        let task_name = name.to_owned();
        let span = tracing::info_span!("logs", destination = name);
        self.tasks.spawn(async move { (task_name, work.await) }.instrument(span));
        let config = config.clone();
        self.running.insert(name.to_owned(), Running { config, decisions, stop });
    }

    /// Ends these pipelines in order and waits for them.
    async fn end(&mut self, names: &[String]) -> Result<(), LogsError> {
        let mut left = 0_usize;
        for name in names {
            if let Some(running) = self.running.remove(name) {
                self.world.beats.stop(name);
                running.stop.cancel();
                left = left.saturating_add(1);
            }
        }
        while left > 0 {
            let Some(ended) = self.tasks.join_next().await else { break };
            let (name, result) = ended.map_err(LogsError::Panicked)?;
            if self.running.contains_key(&name) {
                return self.unasked(Ok((name, result)));
            }
            result.map_err(|source| LogsError::Pipeline { name: name.clone(), source })?;
            info!(destination = name, "The pipeline ended and its position is saved");
            left = left.saturating_sub(1);
        }
        Ok(())
    }

    fn unasked(
        &self,
        ended: Result<(String, Result<(), PipelineError>), JoinError>,
    ) -> Result<(), LogsError> {
        let (name, result) = ended.map_err(LogsError::Panicked)?;
        let source = result.err().unwrap_or(PipelineError::ThreadEnded);
        Err(LogsError::Pipeline { name, source })
    }
}
