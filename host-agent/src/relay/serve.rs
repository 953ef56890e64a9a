//! Stage 7: the relay's own port.
//!
//! | path | answers |
//! |---|---|
//! | `/metrics` | everything of this host |
//! | `/metrics/SERVICE/INSTANCE` | that of one instance; with `?job=JOB` of one target of it, and then its failure is the answer's status |
//! | `/targets` | who is asked and how that went: a page, or JSON |
//! | `/sd` | HTTP service discovery for a Prometheus that would have many targets |
//!
//! **Invariants**: an answer is there before the caller's deadline, with what is there by then; nothing is changed by a request;
//! callers beyond a limit are told so at once, and one that does not take its answer in time is hung up on.

mod answers;
mod caller;
mod callers;
mod discovery;
mod page;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use axum::routing::get;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::caller::{Caller, TakenBy};
use self::callers::Callers;
use super::config::RelayConfig;
use super::flight::Flights;
use super::metrics::RelayMetrics;
use super::status::Statuses;
use super::target::{Address, Target, targets};
use crate::connections::Port;
use crate::instances::Instances;

/// Connections at a time: far more than callers, because Prometheus keeps them between scrapes.
const MOST_CONNECTIONS: usize = 1024;
/// How long a connection may be silent; Prometheus' longest usual interval is shorter.
const SILENT: Duration = Duration::from_secs(300);

/// Why the relay does not run.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The address cannot be bound.
    #[error(
        "cannot listen on relay.listen = {address}: choose another port, or stop what holds it"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// The relay's port, bound.
#[derive(Debug)]
pub struct Relay {
    listener: TcpListener,
    address: SocketAddr,
    context: Context,
}

/// What requests need.
#[derive(Debug, Clone)]
pub struct Context {
    /// How it works.
    pub config: Arc<RelayConfig>,
    /// Who is on this host.
    pub instances: watch::Receiver<Arc<Instances>>,
    /// The agent's own metrics.
    pub agent: Option<Address>,
    /// How targets are asked.
    pub flights: Flights,
    /// How they were last time.
    pub statuses: Statuses,
    /// What is counted.
    pub metrics: Arc<RelayMetrics>,
}

impl Relay {
    /// Binds the port; 0 lets the kernel choose one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(context: Context) -> Result<Self, RelayError> {
        let address = context.config.listen;
        let bind = |source| RelayError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        Ok(Self { listener, address, context })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`.
    ///
    /// # Errors
    /// None; the type is that of a task.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let Self { listener, context, .. } = self;
        let metrics = Arc::clone(&context.metrics);
        let callers = Callers::new(context.config.callers, Arc::clone(&metrics));
        let patience = context.config.scrape.timeout;
        let pages = Router::new()
            .route("/metrics", get(answers::all))
            .route("/metrics/{service}/{instance}", get(answers::one))
            .route_layer(axum::middleware::from_fn_with_state(callers, callers::within_limit))
            .route("/", get(|| async { axum::response::Redirect::to("/targets") }))
            .route("/targets", get(page::targets))
            .route("/sd", get(discovery::discovery))
            .with_state(context);
        let pages = TowerToHyperService::new(pages);
        let mut http = Builder::new(TokioExecutor::new()).http1_only();
        http.http1().timer(TokioTimer::new()).header_read_timeout(SILENT);
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let port = Port { listener, http, places, refused: metrics.refused_connections.clone() };
        let connect = move |stream, _| {
            let (pages, taken_by) = (pages.clone(), TakenBy::default());
            let caller = Caller::new(stream, taken_by.clone(), metrics.cut_answers.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (answer, taken_by) = (pages.call(request), taken_by.clone());
                async move {
                    let answer = answer.await;
                    taken_by.set(Instant::now() + patience);
                    answer
                }
            });
            (caller, service)
        };
        port.serve(connect, shutdown).await;
        Ok(())
    }
}

impl Context {
    fn targets(&self) -> Vec<Arc<Target>> {
        let instances = self.instances.borrow().clone();
        let all = targets(&instances, &self.config, self.agent.as_ref());
        self.metrics.note_targets(all.len());
        all
    }
}
