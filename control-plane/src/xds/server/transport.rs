//! The gRPC server around the service: sockets, TLS, keepalive, health and reflection.
//!
//! In: a bound listener, an [`XdsServer`], whether the control plane is ready. Out: a running server.
//!
//! **Invariants**: no concurrency limit or timeout of the transport applies to streams, which live long;
//! age and shutdown are the streams' own, because the transport would cut them all at once.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::methods::SERVICES;
use super::{ProxySource, XdsServer};

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

/// Certificates in PEM.
#[derive(Clone)]
pub struct XdsTls {
    /// The server's chain.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
    /// Who signs the certificates that proxies must then show.
    pub client_ca: Option<Vec<u8>>,
}

impl std::fmt::Debug for XdsTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("XdsTls")
            .field("client_ca", &self.client_ca.is_some())
            .finish_non_exhaustive()
    }
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
    Tls(#[source] tonic::transport::Error),
    /// The reflection service cannot be built.
    #[error("cannot describe the xDS services")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// The server failed.
    #[error("the xDS server failed")]
    Serve(#[source] tonic::transport::Error),
}

/// A gRPC server with the knobs that long xDS streams need.
///
/// # Errors
/// The certificates cannot be used.
pub fn server_builder(config: &XdsConfig) -> Result<Server, XdsServerError> {
    let server = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .max_concurrent_streams(100)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(2 << 20)
        .http2_max_header_list_size(16 << 10)
        .http2_max_pending_accept_reset_streams(Some(20));
    let Some(tls) = &config.tls else { return Ok(server) };
    let mut settings =
        ServerTlsConfig::new().identity(Identity::from_pem(&tls.certificate, &tls.key));
    if let Some(ca) = &tls.client_ca {
        settings = settings.client_ca_root(Certificate::from_pem(ca));
    }
    server.tls_config(settings).map_err(XdsServerError::Tls)
}

/// How long the server outlasts its drain: a proxy that does not read never hears that its stream ended.
const GRACE: Duration = Duration::from_secs(2);

/// Serves xDS, health and reflection until the server's shutdown has ended every stream, or its drain is long over.
///
/// `ready` is what the health service says of the discovery services.
///
/// # Errors
/// The certificates cannot be used, or the transport failed.
pub async fn serve<S: ProxySource>(
    listener: TcpListener,
    xds: XdsServer<S>,
    ready: watch::Receiver<bool>,
) -> Result<(), XdsServerError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(XdsServerError::Reflection)?;
    let shutdown = xds.0.shutdown.clone();
    let limit = xds.0.config.drain + GRACE;
    let server = server_builder(&xds.0.config)?
        .add_routes(routes(&xds))
        .add_service(health)
        .add_service(reflection)
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            shutdown.cancelled(),
        );
    tokio::select! {
        served = server => served.map_err(XdsServerError::Serve),
        () = async { shutdown.cancelled().await; tokio::time::sleep(limit).await } => Ok(()),
        never = report_health(reporter, ready) => match never {},
    }
}

/// Every discovery service, by its path.
fn routes<S: ProxySource>(xds: &XdsServer<S>) -> Routes {
    let paths = SERVICES.map(|service| format!("/{}/{{*method}}", service.name));
    // It answers UNIMPLEMENTED to whatever has no path here.
    let none = Routes::default().into_axum_router();
    let all = paths.into_iter().fold(none, |all, path| all.route_service(&path, xds.clone()));
    all.into()
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
