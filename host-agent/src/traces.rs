//! Spans: what applications and Envoys of this host send, passed on to the tracing back ends of the platform.
//!
//! ```text
//!  1 receive            2 admit           3 shape                     4 queue                     5 send
//!  OTLP gRPC, HTTP ─┐
//!  Zipkin ──────────┴▶ fair share of ───▶ checked, enriched by ─────▶ on disk, then answered ──▶ tail sampling ─▶ back end
//!   bytes, limited      memory             who sent, limited,          a queue for each back end,  batches, retries
//!                                          redacted                    lanes by sender
//! ```
//!
//! Spans stay bytes all the way: what is not changed is copied, and requests are joined by appending them. One request is one
//! piece; a batch is pieces of several senders, taken in turns.
//!
//! **Invariants**
//! - 2xx and `OK` mean: on disk for at least one back end (`queue.rs` says what that outlives), or refused by name and counted.
//! - A sender that floods, or a back end that is slow or away, costs no other sender a span: memory, queue and turns are shared
//!   fairly by sender, and each back end has a queue of its own.
//! - Nothing that was accepted is lost without being counted by back end, sender and reason. Repeats are possible after a kill
//!   and where an answer was lost; span ids make them recognisable.
//! - Memory is bounded by configuration, whatever is sent.
//!
//! **Absent**: storing and searching; metrics and logs by OTLP; sampling over several hosts; TLS towards senders.

pub mod config;
pub mod metrics;
pub mod otlp;
mod page;
pub mod pipeline;
pub mod queue;
pub mod receive;
pub mod send;
pub mod sender;
pub mod shape;
pub mod shares;
pub mod tail;
pub mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use prometheus_client::registry::Registry;
use service::tasks::Tasks;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::instances::Instances;
use config::TracesConfig;
use metrics::{QueueMetrics, TraceMetrics};
use pipeline::{Clock, Pipeline};
use queue::{Keeper, Queue};
use receive::Receiver;
use send::{BackEnd, BackEndOptions, Client, State, Worker};
use shares::Shares;
use tail::Tail;

/// Starts the part: opens the queues, listens, and spawns a task for each address, queue and worker. Returns its pages.
///
/// # Errors
/// When a queue cannot be opened, a back end's client cannot be built, or an address is taken.
pub async fn start(
    config: TracesConfig,
    instances: watch::Receiver<Arc<Instances>>,
    clock: Clock,
    registry: &mut Registry,
    tasks: &mut Tasks,
    shutdown: &CancellationToken,
) -> anyhow::Result<axum::Router> {
    let metrics = TraceMetrics::new(registry);
    let tail = config.tail.map(|rules| Arc::new(Tail::new(rules)));
    let others = TaskTracker::new();
    let mut back_ends = Vec::new();
    let mut workers = Vec::new();
    for options in config.back_ends {
        let client = Client::new(&options)?;
        let (back_end, keeper) = open(options, tail.as_deref(), &metrics)?;
        let back_end = Arc::new(back_end);
        if let Some(keeper) = keeper {
            let keeping = keep(keeper, shutdown.clone(), others.clone());
            tasks.spawn(format!("queue of {}", back_end.name), keeping);
        }
        let worker = Worker {
            back_end: Arc::clone(&back_end),
            client,
            tail: tail.clone(),
            metrics: metrics.clone(),
        };
        workers.extend(std::iter::repeat_n(worker, back_end.options.in_flight));
        back_ends.push(back_end);
    }
    let back_ends: Arc<[_]> = back_ends.into();
    registry.register_collector(Box::new(QueueMetrics { back_ends: Arc::clone(&back_ends) }));
    let memory = Arc::new(Shares::new(config.receive.in_flight_bytes));
    let receiver = Receiver {
        limits: config.receive,
        memory,
        connections: Arc::new(Semaphore::new(config.receive.connections)),
        instances,
        pipeline: Arc::new(Pipeline {
            shape: config.shape,
            tail: tail.clone(),
            back_ends: Arc::clone(&back_ends),
            metrics,
            clock,
        }),
    };
    for address in config.listen {
        let listener = listen(address).await?;
        let address = listener.local_addr()?;
        info!(%address, "Taking spans");
        tasks.spawn(
            format!("spans on {address}"),
            others.track_future(receiver.clone().run(listener, shutdown.clone())),
        );
    }
    for (number, worker) in workers.into_iter().enumerate() {
        let name = format!("spans to {} ({number})", worker.back_end.name);
        tasks.spawn(name, others.track_future(worker.run(shutdown.clone())));
    }
    Ok(page::router(back_ends, tail))
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} for spans: name another address in traces.listen, or stop what holds it")
    })
}

/// Opens a back end's queue and starts its keeper.
fn open(
    options: BackEndOptions,
    tail: Option<&Tail>,
    metrics: &TraceMetrics,
) -> anyhow::Result<(BackEnd, Option<Keeper>)> {
    let observe = |_: &queue::Entry, bytes: &[u8]| {
        if let Some(tail) = tail {
            let mut facts = Vec::new();
            otlp::visit_spans(bytes, |span| facts.extend(otlp::read(span)));
            tail.observe(&facts);
        }
    };
    let (queue, keeper, recovery) = Queue::open(options.queue.clone(), observe)?;
    metrics.recovered(
        &options.name,
        recovery.records,
        recovery.torn_bytes + recovery.damaged_bytes,
    );
    if recovery.records > 0 {
        let status = queue.status(tokio::time::Instant::now());
        info!(back_end = %options.name, spans = status.spans, "Found accepted spans on disk");
    }
    if recovery.damaged_bytes > 0 {
        tracing::error!(back_end = %options.name, bytes = recovery.damaged_bytes, "A part of the queue on disk is damaged and given up");
    }
    let name = Arc::clone(&options.name);
    Ok((BackEnd { name, options, queue, state: State::default() }, keeper))
}

/// The keeper on a thread where it may block, until everybody who gives it work has ended.
async fn keep(
    keeper: Keeper,
    shutdown: CancellationToken,
    others: TaskTracker,
) -> Result<(), tokio::task::JoinError> {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let runtime = Handle::current();
    let thread = tokio::task::spawn_blocking(move || keeper.run(&stopped, &runtime));
    tokio::pin!(thread);
    tokio::select! {
        ended = &mut thread => return ended,
        () = shutdown.cancelled() => {}
    }
    others.close();
    others.wait().await;
    stop.cancel();
    thread.await
}
