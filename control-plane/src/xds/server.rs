//! Stage 5, the shell: the xDS server.
//!
//! In: gRPC streams of proxies, each one's resources from a [`ProxySource`], the end of the process.
//! Out: streams that carry the resources, a [`ProxyTable`], metrics. `app.rs` calls [`serve`].
//!
//! **Invariants**: `tonic::Status` is made here and in `connection` only; a stream is a value that the transport
//! polls; randomness is an argument. No resource is built here, and no protocol decision is taken.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::future::BoxFuture;
use h2::RecvStream;
use h2::server::SendResponse;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::codegen::http::Request;
use tracing::{info, warn};

use crate::xds::resources::{ResourceSet, ResourceType, Version};
use crate::xds::stream::{AdsStream, Mode};
use crate::xds::wire::{DeltaRequest, DiscoveryRequest, SotwRequest};

mod admission;
mod alarm;
mod bell;
mod classes;
mod connection;
mod grpc;
mod http2;
mod methods;
mod metrics;
mod node;
mod proxies;
mod services;
mod throttle;
mod tls;
mod transport;

pub use metrics::XdsMetrics;
pub use node::{BadNode, ProxyNode};
pub use proxies::{ConnectedProxy, NoStatus, ProxyTable};
pub use tls::{TlsError, XdsTls};
pub use transport::{XdsConfig, XdsServerError, serve};

use admission::{Admission, Crowded};
use alarm::Alarm;
use classes::Classes;
use connection::{Bells, Connection, judge};
use grpc::{Answer, Messages};
use metrics::Ended;
use throttle::Throttle;

/// A request for another service, and where its answer goes.
type Unserved = Box<(Request<RecvStream>, SendResponse<Bytes>)>;

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
    classes: Classes,
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
        let classes = Classes::default();
        Self(Arc::new(Shared {
            config,
            source,
            proxies,
            classes,
            metrics,
            shutdown,
            random,
            admission,
        }))
    }
}

impl<S: ProxySource> Shared<S> {
    /// Begins a stream: learns who it is, subscribes it, enters it into the table.
    async fn begin<R: DiscoveryRequest>(
        &self,
        only: Option<ResourceType>,
        mut requests: Messages<R>,
        peer: Option<SocketAddr>,
    ) -> Result<Connection<R>, Status> {
        if self.shutdown.is_cancelled() {
            self.metrics.ended(Ended::Shutdown);
            return Err(Status::unavailable("this control plane stops; reconnect to another"));
        }
        let first = tokio::time::timeout(self.config.first_request, requests.next()).await;
        let Ok(first) = first else {
            self.metrics.ended(Ended::Silent);
            return Err(Status::deadline_exceeded("no request came on this stream"));
        };
        let first = first.map_err(|error| judge(&error, &self.metrics))?;
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
            bells: Bells::default(),
            class: self.classes.of(&node),
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

impl<S: ProxySource> XdsServer<S> {
    /// The loop of a discovery stream; the request again if it is for another service.
    fn open(
        &self,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        peer: Option<SocketAddr>,
    ) -> Result<BoxFuture<'static, ()>, Unserved> {
        let shared = self.0.clone();
        let Some((mode, only)) = methods::method(request.uri().path()) else {
            return Err(Box::new((request, respond)));
        };
        let body = request.into_body();
        Ok(match mode {
            Mode::Delta => Box::pin(shared.run::<DeltaRequest>(only, body, respond, peer)),
            Mode::Sotw => Box::pin(shared.run::<SotwRequest>(only, body, respond, peer)),
        })
    }
}

impl<S: ProxySource> Shared<S> {
    async fn run<R: DiscoveryRequest>(
        self: Arc<Self>,
        only: Option<ResourceType>,
        body: RecvStream,
        respond: SendResponse<Bytes>,
        peer: Option<SocketAddr>,
    ) {
        let requests = Messages::<R>::new(body, self.config.max_request_bytes);
        match self.begin(only, requests, peer).await {
            Ok(connection) => {
                drop(self);
                connection.run(respond).await;
            }
            Err(status) => Answer::refuse(respond, status),
        }
    }
}
