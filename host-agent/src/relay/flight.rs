//! Stage 6: one scrape of a target for all who ask for it within a second.
//!
//! In: targets to be asked, and until when. Out: [`Flight`]s, one for each, that the caller awaits up to its own deadline.
//! Two Prometheus servers that watch over the same hosts do not double the exporters' load, and a caller that goes away does
//! not end what another one waits for.
//!
//! **Invariants**: a flight is joined for [`SHARED_FOR`] after its begin, never later; what it brought is forgotten then; a
//! caller waits until its own deadline at most, and sees what is not done by then as a timeout of its own; one in a hurry
//! makes no target look dead to another one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::metrics::RelayMetrics;
use super::scrape::{Scraped, Scraper};
use super::status::Statuses;
use super::target::Target;

/// How long after its begin a scrape is shared with further callers.
pub const SHARED_FOR: Duration = Duration::from_secs(1);

/// What came of asking one target.
#[derive(Debug)]
pub struct Outcome {
    /// Which.
    pub target: Arc<Target>,
    /// How long it took.
    pub duration: Duration,
    /// What it said, or why it said nothing.
    pub result: Result<Scraped, Failure>,
}

impl Outcome {
    /// Whether it could be scraped.
    pub const fn is_up(&self) -> bool {
        self.result.is_ok()
    }
}

/// One target being asked, or asked just now.
#[derive(Debug)]
pub struct Flight {
    target: Arc<Target>,
    begun: Instant,
    /// When it is given up: the deadline of who began it.
    deadline: Instant,
    outcome: watch::Sender<Option<Arc<Outcome>>>,
}

impl Flight {
    /// Whether a caller that asks now may join it. One with more time than it has gets one of its own, unless it went well.
    fn is_for(&self, deadline: Instant, now: Instant) -> bool {
        let is_up = || self.outcome.borrow().as_ref().is_some_and(|outcome| outcome.is_up());
        now.duration_since(self.begun) < SHARED_FOR
            && (self.deadline + SHARED_FOR >= deadline || is_up())
    }

    /// What came of it, or a timeout at `deadline`.
    pub async fn outcome(&self, deadline: Instant) -> Arc<Outcome> {
        let mut receiver = self.outcome.subscribe();
        let waited = tokio::time::timeout_at(deadline, receiver.wait_for(Option::is_some)).await;
        let outcome = waited.ok().and_then(Result::ok).and_then(|outcome| outcome.clone());
        outcome.unwrap_or_else(|| {
            let duration = deadline.duration_since(self.begun);
            let result = Err(Failure::Timeout(duration));
            Arc::new(Outcome { target: Arc::clone(&self.target), duration, result })
        })
    }
}

/// Targets to be asked.
#[derive(Debug)]
struct Request {
    targets: Vec<Arc<Target>>,
    has_protobuf: bool,
    deadline: Instant,
    reply: oneshot::Sender<Vec<Arc<Flight>>>,
}

/// Asks for flights.
#[derive(Debug, Clone)]
pub struct Flights {
    requests: mpsc::Sender<Request>,
}

/// The task that owns all flights has ended.
#[derive(Debug, thiserror::Error)]
#[error("the relay is stopping")]
pub struct Stopping;

impl Flights {
    /// A flight for each target, in their order: one that may be joined, else a new one.
    ///
    /// # Errors
    /// [`Stopping`] when the process ends.
    pub async fn begin(
        &self,
        targets: Vec<Arc<Target>>,
        has_protobuf: bool,
        deadline: Instant,
    ) -> Result<Vec<Arc<Flight>>, Stopping> {
        let (reply, flights) = oneshot::channel();
        let request = Request { targets, has_protobuf, deadline, reply };
        self.requests.send(request).await.map_err(|_| Stopping)?;
        flights.await.map_err(|_| Stopping)
    }
}

/// Owns all flights.
#[derive(Debug)]
pub struct Controller {
    requests: mpsc::Receiver<Request>,
    scraper: Scraper,
    places: Arc<Semaphore>,
    flights: BTreeMap<(String, bool), Arc<Flight>>,
    running: JoinSet<()>,
    statuses: Statuses,
    metrics: Arc<RelayMetrics>,
}

impl Controller {
    /// Prepares it.
    pub fn new(
        scraper: Scraper,
        statuses: Statuses,
        metrics: Arc<RelayMetrics>,
    ) -> (Self, Flights) {
        let (sender, requests) = mpsc::channel(64);
        let places = Arc::new(Semaphore::new(scraper.config().parallel));
        let controller = Self {
            requests,
            scraper,
            places,
            flights: BTreeMap::new(),
            running: JoinSet::new(),
            statuses,
            metrics,
        };
        (controller, Flights { requests: sender })
    }

    /// Serves requests until `shutdown`.
    ///
    /// # Errors
    /// None; the type is that of a task.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Infallible> {
        loop {
            let oldest = self.flights.values().map(|flight| flight.begun).min();
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                Some(request) = self.requests.recv() => self.serve(request),
                Some(ended) = self.running.join_next(), if !self.running.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "A scrape died");
                    }
                }
                () = until(oldest) => {}
            }
            self.flights.retain(|_, flight| flight.begun.elapsed() < SHARED_FOR);
        }
    }

    fn serve(&mut self, request: Request) {
        let now = Instant::now();
        let Request { targets, has_protobuf, deadline, reply } = request;
        let mut flights = Vec::with_capacity(targets.len());
        for target in targets {
            let key = (target.key.clone(), has_protobuf);
            let known = self.flights.get(&key);
            if let Some(flight) = known.filter(|flight| flight.is_for(deadline, now)) {
                self.metrics.shared.inc();
                flights.push(Arc::clone(flight));
                continue;
            }
            let (outcome, _) = watch::channel(None);
            let flight = Arc::new(Flight { target, begun: now, deadline, outcome });
            self.running.spawn(self.scrape(Arc::clone(&flight), has_protobuf, deadline));
            self.flights.insert(key, Arc::clone(&flight));
            flights.push(flight);
        }
        // A caller that has gone away leaves its flights to others.
        drop(reply.send(flights));
    }

    fn scrape(
        &self,
        flight: Arc<Flight>,
        has_protobuf: bool,
        deadline: Instant,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (scraper, places) = (self.scraper.clone(), Arc::clone(&self.places));
        let (statuses, metrics) = (self.statuses.clone(), Arc::clone(&self.metrics));
        async move {
            let begun = flight.begun;
            let place = tokio::time::timeout_at(deadline, places.acquire_owned()).await;
            let result = match place {
                Ok(Ok(_place)) => scraper.scrape(&flight.target, has_protobuf, deadline).await,
                _ => Err(Failure::Timeout(deadline.duration_since(begun))),
            };
            let outcome =
                Outcome { target: Arc::clone(&flight.target), duration: begun.elapsed(), result };
            statuses.note(&outcome, Instant::now());
            metrics.note(&outcome);
            flight.outcome.send_replace(Some(Arc::new(outcome)));
        }
    }
}

/// When the oldest flight is to be forgotten.
async fn until(oldest: Option<Instant>) {
    match oldest {
        Some(begun) => tokio::time::sleep_until(begun + SHARED_FOR).await,
        None => std::future::pending().await,
    }
}
