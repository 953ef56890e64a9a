//! The gRPC server around the service: sockets, TLS, keepalive, health and reflection.
//!
//! In: a bound listener, an [`XdsServer`], whether the control plane is ready. Out: a running server.
//!
//! **Invariants**: no concurrency limit or timeout of the transport applies to streams, which live long;
//! age and shutdown are the streams' own, because the transport would cut them all at once.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tracing::{debug, warn};

use super::methods::SERVICES;
use super::services::Services;
use super::tls::{self, TlsError, XdsTls};
use super::{ProxySource, XdsServer, http2};

/// How the server behaves; `Default` is what production wants.
#[derive(Debug, Clone)]
pub struct XdsConfig {
    /// A stream ends after this and up to as long again, so that proxies spread over replicas.
    pub stream_age: Duration,
    /// Within what time streams end at shutdown, spread evenly.
    pub drain: Duration,
    /// Streams that are set up at a time; others wait.
    pub admit_at_once: usize,
    /// How long a stream waits to be set up before it is sent to come back later.
    pub admission_wait: Duration,
    /// How long a stream may take for its first request.
    pub first_request: Duration,
    /// Requests of one stream that are read per second in the long run.
    pub requests_per_second: u32,
    /// Requests of one stream that are read at once.
    pub request_burst: u32,
    /// Bytes of one request.
    pub max_request_bytes: usize,
    /// TLS; without it the server speaks plain text.
    pub tls: Option<XdsTls>,
}

impl Default for XdsConfig {
    fn default() -> Self {
        Self {
            stream_age: Duration::from_mins(30),
            drain: Duration::from_secs(8),
            admit_at_once: 16,
            admission_wait: Duration::from_secs(10),
            first_request: Duration::from_secs(10),
            requests_per_second: 500,
            request_burst: 1000,
            max_request_bytes: 16 << 20,
            tls: None,
        }
    }
}

/// The server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum XdsServerError {
    /// The certificates cannot be used.
    #[error("cannot use the xDS certificates; check certificate, key and client CA")]
    Tls(#[source] TlsError),
    /// The reflection service cannot be built.
    #[error("cannot describe the xDS services")]
    Reflection(#[source] tonic_reflection::server::Error),
}

/// How long the server outlasts its drain: a proxy that does not read never hears that its stream ended.
const GRACE: Duration = Duration::from_secs(2);
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// After a connection could not be accepted, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves xDS, health and reflection until the server's shutdown has ended every stream, or its drain is long over.
///
/// `ready` is what the health service says of the discovery services.
///
/// # Errors
/// The certificates cannot be used.
pub async fn serve<S: ProxySource>(
    listener: TcpListener,
    xds: XdsServer<S>,
    ready: watch::Receiver<bool>,
) -> Result<(), XdsServerError> {
    let tls = xds.0.config.tls.as_ref().map(tls::acceptor).transpose();
    let tls = tls.map_err(XdsServerError::Tls)?;
    let (reporter, health) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(XdsServerError::Reflection)?;
    let services = Services(Routes::new(health).add_service(reflection).prepare());
    let limit = xds.0.config.drain + GRACE;
    // Dropping the set ends the connections that are left.
    let mut connections = JoinSet::new();
    let served = async {
        accept(listener, tls, xds, services, &mut connections).await;
        let all = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(limit, all).await.is_err() {
            debug!(left = connections.len(), "Dropping connections that did not end");
        }
    };
    tokio::select! {
        () = served => Ok(()),
        never = report_health(reporter, ready) => match never {},
    }
}

/// Takes connections until the shutdown.
async fn accept<S: ProxySource>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    xds: XdsServer<S>,
    services: Services,
    connections: &mut JoinSet<()>,
) {
    let shutdown = xds.0.shutdown.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            // A set that nobody reads keeps every task that has ended.
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "Cannot accept a connection of a proxy");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (tls, xds, services) = (tls.clone(), xds.clone(), services.clone());
        let shutdown = shutdown.clone();
        connections.spawn(async move {
            if let Err(error) = socket.set_nodelay(true) {
                return debug!(%peer, %error, "A connection is gone");
            }
            let Some(tls) = tls else {
                return http2::serve(socket, Some(peer), xds, services, shutdown).await;
            };
            match tokio::time::timeout(HANDSHAKE, tls.accept(socket)).await {
                Ok(Ok(socket)) => {
                    http2::serve(Box::new(socket), Some(peer), xds, services, shutdown).await;
                }
                Ok(Err(error)) => debug!(%peer, %error, "TLS refused on a connection"),
                Err(_) => debug!(%peer, "No TLS on a connection in time"),
            }
        });
    }
}

async fn report_health(
    reporter: HealthReporter,
    mut ready: watch::Receiver<bool>,
) -> std::convert::Infallible {
    loop {
        let is_ready = *ready.borrow_and_update();
        let status = if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in SERVICES.map(|service| service.name).into_iter().chain([""]) {
            reporter.set_service_status(name, status).await;
        }
        if ready.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
