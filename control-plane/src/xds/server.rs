//! Stage 5, the shell: the xDS server.
//!
//! In: gRPC streams of proxies, each one's resources from a [`ProxySource`], the end of the process.
//! Out: streams that carry the resources, a [`ProxyTable`], metrics. `app.rs` calls [`serve`].
//!
//! **Invariants**: `tonic::Status` is made here and in `connection` only; a stream is a value that the transport
//! polls; randomness is an argument. No resource is built here, and no protocol decision is taken.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::codegen::{Body, Service, StdError, http};
use tonic::{Request, Status, Streaming};
use tracing::{info, warn};

use crate::xds::resources::{ResourceSet, ResourceType, Version};
use crate::xds::stream::{AdsStream, Mode};
use crate::xds::wire::{self, DeltaRequest, DiscoveryRequest, SotwRequest};

mod admission;
mod alarm;
mod connection;
mod methods;
mod metrics;
mod node;
mod proxies;
mod response;
mod throttle;
mod transport;

pub use metrics::XdsMetrics;
pub use node::{BadNode, ProxyNode};
pub use proxies::{ConnectedProxy, NoStatus, ProxyTable};
pub use transport::{XdsConfig, XdsServerError, XdsTls, serve, server_builder};

use admission::{Admission, Crowded};
use alarm::Alarm;
use connection::{Connection, judge};
use metrics::Ended;
use throttle::Throttle;

/// Where the resources of a proxy come from.
///
/// Dropping the receiver ends the subscription; dropping the sender ends the stream.
pub trait ProxySource: Send + Sync + 'static {
    /// Subscribes a proxy to its resources; answers when there is a first set.
    fn subscribe(
        &self,
        node: Arc<ProxyNode>,
    ) -> impl Future<Output = Result<watch::Receiver<Arc<ResourceSet>>, Refusal>> + Send;
}

/// Why a proxy gets nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// This replica knows too little yet; another may serve.
    #[error("this control plane is not ready: {0}")]
    NotReady(String),
    /// The proxy is not what it claims to be.
    #[error("the proxy is refused: {0}")]
    Denied(String),
}

/// A number of [0, 1), for spreading things that must not happen at once.
pub type Random = Arc<dyn Fn() -> f64 + Send + Sync>;

/// The discovery services, aggregated and by type; clones are the same server.
pub struct XdsServer<S>(Arc<Shared<S>>);

struct Shared<S> {
    config: XdsConfig,
    source: S,
    proxies: ProxyTable,
    metrics: XdsMetrics,
    shutdown: CancellationToken,
    random: Random,
    admission: Admission,
}

impl<S> Clone for XdsServer<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> fmt::Debug for XdsServer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("XdsServer").field("config", &self.0.config).finish_non_exhaustive()
    }
}

impl<S: ProxySource> XdsServer<S> {
    /// A server; streams end within [`XdsConfig::drain`] after `shutdown`.
    pub fn new(
        config: XdsConfig,
        source: S,
        proxies: ProxyTable,
        metrics: XdsMetrics,
        shutdown: CancellationToken,
        random: Random,
    ) -> Self {
        let (at_once, patience) = (config.admit_at_once, config.admission_wait);
        let admission = Admission::new(at_once, patience, metrics.admission_waiting());
        Self(Arc::new(Shared { config, source, proxies, metrics, shutdown, random, admission }))
    }
}

impl<S: ProxySource> Shared<S> {
    /// Begins a stream: learns who it is, subscribes it, enters it into the table.
    async fn begin<R: DiscoveryRequest>(
        &self,
        only: Option<ResourceType>,
        request: Request<Streaming<R>>,
    ) -> Result<Connection<R>, Status> {
        if self.shutdown.is_cancelled() {
            self.metrics.ended(Ended::Shutdown);
            return Err(Status::unavailable("this control plane stops; reconnect to another"));
        }
        let peer = request.remote_addr();
        let mut requests = request.into_inner();
        let first = tokio::time::timeout(self.config.first_request, requests.message()).await;
        let Ok(first) = first else {
            self.metrics.ended(Ended::Silent);
            return Err(Status::deadline_exceeded("no request came on this stream"));
        };
        let first = first.map_err(|status| judge(status, &self.metrics))?;
        let first = first.ok_or_else(|| Status::cancelled("no request came on this stream"))?;
        let _permit = self.admission.enter().await.map_err(|Crowded| {
            self.metrics.ended(Ended::Crowded);
            Status::unavailable(
                "too many proxies connect at once; come back or ask another replica",
            )
        })?;
        let node = Arc::new(self.identify(&first, peer)?);
        let mut sets = self.source.subscribe(node.clone()).await.map_err(|refusal| {
            let ended = if matches!(refusal, Refusal::NotReady(_)) {
                Ended::NotReady
            } else {
                Ended::BadNode
            };
            self.metrics.ended(ended);
            match refusal {
                Refusal::NotReady(_) => Status::unavailable(refusal.to_string()),
                Refusal::Denied(_) => Status::permission_denied(refusal.to_string()),
            }
        })?;
        let now = Instant::now();
        let set = sets.borrow_and_update().clone();
        let (place, queries) = self.proxies.enter(node.clone(), only, now);
        info!(
            node = node.id,
            mode = R::MODE.as_str(),
            only = only.map(ResourceType::as_str),
            agent = node.agent,
            ?peer,
            "Proxy connected"
        );
        Ok(Connection {
            requests,
            node_hash: Version::of(first.node()),
            first: Some(first),
            node,
            sets,
            stream: AdsStream::new(R::MODE, only, set),
            queries,
            throttle: Throttle::new(
                self.config.requests_per_second,
                self.config.request_burst,
                now,
            ),
            ends_at: now + self.config.stream_age.mul_f64(1.0 + (self.random)()),
            shutdown: Box::pin(self.shutdown.clone().cancelled_owned()),
            alarm: Alarm::new(now + self.config.stream_age),
            drain: self.config.drain.mul_f64((self.random)()),
            is_draining: false,
            is_over: false,
            metrics: self.metrics.clone(),
            _place: place,
            _open: self.metrics.stream(R::MODE),
        })
    }

    fn identify<R: DiscoveryRequest>(
        &self,
        first: &R,
        peer: Option<SocketAddr>,
    ) -> Result<ProxyNode, Status> {
        ProxyNode::parse(first.node(), peer, R::MODE).map_err(|error| {
            self.metrics.ended(Ended::BadNode);
            warn!(?peer, %error, "Refusing a proxy");
            Status::invalid_argument(error.to_string())
        })
    }
}

impl<S, B> Service<http::Request<B>> for XdsServer<S>
where
    S: ProxySource,
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let shared = self.0.clone();
        match methods::method(request.uri().path()) {
            Some((Mode::Delta, only)) => {
                Box::pin(stream_of::<DeltaRequest, S, B>(shared, only, request))
            }
            Some((Mode::Sotw, only)) => {
                Box::pin(stream_of::<SotwRequest, S, B>(shared, only, request))
            }
            None => {
                let status = Status::unimplemented("no such method");
                Box::pin(async move { Ok(status.into_http()) })
            }
        }
    }
}

async fn stream_of<R, S, B>(
    shared: Arc<Shared<S>>,
    only: Option<ResourceType>,
    request: http::Request<B>,
) -> Result<http::Response<tonic::body::Body>, Infallible>
where
    R: DiscoveryRequest,
    S: ProxySource,
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    let limit = shared.config.max_request_bytes;
    let read = |body| Streaming::new_request(wire::decoder::<R>(), body, None, Some(limit));
    let request = Request::from_http(request.map(read));
    Ok(match shared.begin(only, request).await {
        Ok(connection) => response::streaming(Box::new(connection)),
        Err(status) => status.into_http(),
    })
}
