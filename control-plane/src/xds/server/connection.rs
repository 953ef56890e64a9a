//! One stream: the loop between a proxy and its [`AdsStream`].
//!
//! In: requests, new sets, questions, deadlines, the end of the process. Out: encoded responses, one whenever the
//! transport asks for one.
//!
//! **Invariants**: it is polled by the transport: no task, no queue; a client that does not read costs one state
//! machine and delays nobody. Protocol decisions are the state machine's.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use h2::server::SendResponse;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::Status;
use tracing::{debug, info, warn};

use crate::xds::resources::{ResourceSet, ResourceType, Version};
use crate::xds::stream::{AdsStream, Event};
use crate::xds::wire::{self, DiscoveryRequest};

use super::alarm::Alarm;
use super::bell::{Bell, Door};
use super::classes::Class;
use super::grpc::{Answer, Gone, Messages, ReadError};
use super::metrics::{Ended, OpenStream, XdsMetrics};
use super::node::ProxyNode;
use super::proxies::{Place, Query};
use super::throttle::Throttle;

/// What the loop works with.
pub(super) struct Connection<R> {
    pub requests: Messages<R>,
    /// The request that told who it is.
    pub first: Option<R>,
    pub node: Arc<ProxyNode>,
    /// Hash of the encoded `node`: Envoy repeats it in every request.
    pub node_hash: Version,
    pub sets: watch::Receiver<Arc<ResourceSet>>,
    pub stream: AdsStream,
    pub class: Class,
    pub queries: mpsc::Receiver<Query>,
    pub bells: Bells,
    pub throttle: Throttle,
    /// When the stream ends of age.
    pub ends_at: Instant,
    /// The same future for the whole stream: its place in the token's list is taken once.
    pub shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
    pub alarm: Alarm,
    /// How long after the shutdown began the stream ends.
    pub drain: std::time::Duration,
    pub is_draining: bool,
    pub is_over: bool,
    pub metrics: XdsMetrics,
    pub _place: Place,
    pub _open: OpenStream,
}

/// What is looked at only when it has news.
pub(super) struct Bells {
    door: Door,
    requests: Bell,
    /// Questions, the shutdown, the alarm.
    rarely: Bell,
}

impl Default for Bells {
    fn default() -> Self {
        let door = Door::default();
        Self { requests: Bell::new(&door), rarely: Bell::new(&door), door }
    }
}

/// What woke the loop.
enum News<R> {
    Request(Result<Option<R>, ReadError>),
    Set(bool),
    Query(Option<Query>),
    Class,
    Shutdown,
    Timer,
}

impl<R: DiscoveryRequest> Connection<R> {
    /// Runs until the proxy or this server ends the stream.
    pub(super) async fn run(mut self, respond: SendResponse<Bytes>) {
        if self.answer(respond).await == Err(Gone) {
            debug!(node = self.node.id, "Proxy broke off");
        }
    }

    async fn answer(&mut self, respond: SendResponse<Bytes>) -> Result<(), Gone> {
        let mut answer = Answer::begin(respond)?;
        loop {
            answer.ready().await?;
            match self.next().await {
                Some(Ok(message)) => answer.send(message)?,
                Some(Err(status)) => {
                    answer.end(&status);
                    return Ok(());
                }
                None => {
                    answer.end(&Status::ok(""));
                    return Ok(());
                }
            }
        }
    }

    /// The next response; `None` after the end.
    async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        if self.is_over {
            return None;
        }
        if let Some(first) = self.first.take()
            && let Err(status) = self.take_request(first)
        {
            return self.end(status);
        }
        loop {
            let now = Instant::now();
            if let Some(known) = self.class.news() {
                self.stream.quarantine(&known);
            }
            let response = self.stream.next_response(now);
            self.report_events();
            if let Some(response) = response {
                let bytes = wire::encode(&response);
                self.metrics.push(response.kind, bytes.len());
                return Some(Ok(bytes));
            }
            if now >= self.ends_at {
                let ended = if self.is_draining { Ended::Shutdown } else { Ended::Age };
                self.metrics.ended(ended);
                return self.end(Status::unavailable(match ended {
                    Ended::Shutdown => "this control plane stops; reconnect to another",
                    _ => "the stream is old; reconnect to spread over replicas",
                }));
            }
            match self.wait(now).await {
                News::Request(Ok(Some(request))) => {
                    self.throttle.take(Instant::now());
                    if let Err(status) = self.take_request(request) {
                        return self.end(status);
                    }
                }
                News::Request(Ok(None)) => {
                    self.is_over = true;
                    return None;
                }
                News::Request(Err(error)) => return self.end(judge(&error, &self.metrics)),
                News::Set(true) => {
                    let set = self.sets.borrow_and_update().clone();
                    self.stream.update(set);
                }
                News::Set(false) => {
                    self.metrics.ended(Ended::NoSource);
                    return self.end(Status::unavailable("no more resources from this replica"));
                }
                // A query whose asker has gone needs no answer.
                News::Query(query) => drop(query.map(|query| query.send(self.stream.status()))),
                News::Shutdown => {
                    self.is_draining = true;
                    self.ends_at = self.ends_at.min(now + self.drain);
                }
                News::Class | News::Timer => {}
            }
        }
    }

    async fn wait(&mut self, now: Instant) -> News<R> {
        let readable_at = self.throttle.next_at();
        let is_readable = readable_at <= now;
        let mut wake_at = self.stream.deadline().map_or(self.ends_at, |at| at.min(self.ends_at));
        if !is_readable {
            wake_at = wake_at.min(readable_at);
        }
        if self.alarm.is_after(wake_at) {
            self.bells.rarely.ring();
        }
        let Self { sets, requests, class, queries, shutdown, alarm, bells, .. } = self;
        let (mut changed, mut class) = (pin!(sets.changed()), pin!(class.changed()));
        let is_draining = self.is_draining;
        poll_fn(|context| {
            bells.door.open(context);
            if let Poll::Ready(changed) = changed.as_mut().poll(context) {
                return Poll::Ready(News::Set(changed.is_ok()));
            }
            if is_readable
                && let Poll::Ready(request) =
                    bells.requests.poll(|inside| requests.poll_next(inside))
            {
                return Poll::Ready(News::Request(request));
            }
            if class.as_mut().poll(context).is_ready() {
                return Poll::Ready(News::Class);
            }
            bells.rarely.poll(|inside| {
                if let Poll::Ready(query) = queries.poll_recv(inside) {
                    return Poll::Ready(News::Query(query));
                }
                if !is_draining && shutdown.as_mut().poll(inside).is_ready() {
                    return Poll::Ready(News::Shutdown);
                }
                alarm.until(wake_at).poll(inside).map(|()| News::Timer)
            })
        })
        .await
    }

    fn take_request(&mut self, request: R) -> Result<(), Status> {
        self.metrics.request(R::MODE);
        self.check_node(request.node())?;
        let type_url = request.type_url();
        let kind = match self.stream.only() {
            Some(kind) if type_url.is_empty() || type_url == kind.type_url() => Some(kind),
            Some(kind) => return Err(self.refuse_type(kind, type_url)),
            None => ResourceType::from_type_url(type_url),
        };
        let Some(kind) = kind else {
            debug!(
                node = self.node.id,
                type_url = request.type_url(),
                "Ignoring a type not served"
            );
            self.metrics.unserved();
            return Ok(());
        };
        self.stream.request(&request.into_request(kind), Instant::now()).map_err(|error| {
            self.metrics.ended(Ended::BadRequest);
            warn!(node = self.node.id, %error, "Ending stream beyond its limits");
            Status::resource_exhausted(error.to_string())
        })
    }

    fn refuse_type(&self, kind: ResourceType, type_url: &str) -> Status {
        self.metrics.ended(Ended::BadRequest);
        warn!(node = self.node.id, kind = kind.as_str(), type_url, "Ending stream of another type");
        Status::invalid_argument(format!(
            "this stream serves {} alone; ask for {type_url:?} on its own stream or by ADS",
            kind.type_url()
        ))
    }

    /// A later `node` must be the first one; one that was seen byte by byte is not read again.
    fn check_node(&mut self, bytes: &Bytes) -> Result<(), Status> {
        if bytes.is_empty() {
            return Ok(());
        }
        let hash = Version::of(bytes);
        if hash == self.node_hash {
            return Ok(());
        }
        match ProxyNode::parse(bytes, self.node.peer, self.node.mode) {
            Ok(node) if self.node.is_same_proxy(&node) => {
                self.node_hash = hash;
                return Ok(());
            }
            _ => {}
        }
        self.metrics.ended(Ended::BadNode);
        warn!(node = self.node.id, "Ending stream whose node changed");
        Err(Status::invalid_argument("`node` differs from the stream's first; open a new stream"))
    }

    fn end(&mut self, status: Status) -> Option<Result<Bytes, Status>> {
        self.is_over = true;
        Some(Err(status))
    }

    fn report_events(&mut self) {
        for event in self.stream.take_events() {
            self.metrics.event(&event);
            self.class.learn(&event, &self.metrics);
            let node = &self.node.id;
            match event {
                Event::Acked { .. } => {}
                Event::Nacked { kind, resources, message } => {
                    let count = resources.len();
                    warn!(node, kind = kind.as_str(), count, %message, "Proxy refused a response");
                }
                Event::Vindicated { .. } => {}
                Event::Quarantined(refusal) => {
                    let (kind, name) = (refusal.kind.as_str(), refusal.name);
                    let message = refusal.refused.message;
                    warn!(node, kind, %name, %message, "Holding back what the proxy refuses");
                }
                Event::AckOverdue { kind } => {
                    warn!(node, kind = kind.as_str(), "Proxy has not answered a response");
                }
                Event::GateExpired { kind, name } => {
                    warn!(node, kind = kind.as_str(), %name, "Sending before its turn: waited in vain");
                }
            }
        }
    }
}

/// What a failure to read a request means to its sender.
pub(super) fn judge(error: &ReadError, metrics: &XdsMetrics) -> Status {
    if *error != ReadError::Gone {
        metrics.ended(Ended::BadRequest);
    }
    error.status()
}

impl<R> Drop for Connection<R> {
    fn drop(&mut self) {
        info!(node = self.node.id, mode = self.node.mode.as_str(), "Proxy left");
    }
}
