//! The admin server of a process, on loopback: health, readiness, metrics, and the program's own debug pages.
//!
//! In: a [`Readiness`] value that the program keeps current, its metrics registry, a router of debug pages.
//! Out: `/healthz` (200 while the process serves), `/readyz` (200, or 503 with the reason), `/metrics` (OpenMetrics).
//! Run as a task by the program's wiring.
//!
//! **Invariants**: only a loopback address is served, because debug pages show what the mesh knows; no state of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What OpenMetrics text calls itself.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether the process can do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It can.
    Ready,
    /// It cannot, for this reason.
    NotReady(String),
}

/// Why the admin server does not run.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address is reachable from elsewhere.
    #[error(
        "admin address {0} is not on loopback: use 127.0.0.1 or [::1], and a relay for remote scrapes"
    )]
    NotLoopback(SocketAddr),
    /// The address cannot be bound.
    #[error("cannot listen on admin address {address}: choose another port, or stop what holds it")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The listener failed.
    #[error("the admin server stopped serving")]
    Serve(#[source] io::Error),
}

/// A bound admin server.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
}

#[derive(Clone)]
struct Pages {
    readiness: watch::Receiver<Readiness>,
    metrics: Arc<Registry>,
}

impl Admin {
    /// Binds the address; port 0 lets the kernel choose one.
    ///
    /// # Errors
    /// When the address is not on loopback or cannot be bound.
    pub async fn bind(address: SocketAddr) -> Result<Self, AdminError> {
        if !address.ip().is_loopback() {
            return Err(AdminError::NotLoopback(address));
        }
        let bind = |source| AdminError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until shutdown; `debug` brings the program's own pages, under paths other than the three above.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn run(
        self,
        readiness: watch::Receiver<Readiness>,
        metrics: Arc<Registry>,
        debug: Router,
        shutdown: CancellationToken,
    ) -> Result<(), AdminError> {
        let pages = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(scrape))
            .with_state(Pages { readiness, metrics })
            .merge(debug);
        axum::serve(self.listener, pages)
            .with_graceful_shutdown(shutdown.cancelled_owned())
            .await
            .map_err(AdminError::Serve)
    }
}

async fn ready(State(pages): State<Pages>) -> Response {
    let readiness = pages.readiness.borrow().clone();
    match readiness {
        Readiness::Ready => "ready\n".into_response(),
        Readiness::NotReady(reason) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response()
        }
    }
}

async fn scrape(State(pages): State<Pages>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &pages.metrics) {
        Ok(()) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    async fn request(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_admin_server_answers_health_readiness_metrics_and_debug_pages() {
        let admin = Admin::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = admin.address();
        let readiness = watch::Sender::new(Readiness::NotReady("no catalog yet".to_owned()));
        let mut metrics = Registry::default();
        let pushes = Counter::<u64>::default();
        metrics.register("mesh_xds_pushes", "Responses sent", pushes.clone());
        pushes.inc();
        let debug = Router::new().route("/debug/catalog", get(|| async { "empty" }));
        let shutdown = CancellationToken::new();
        let server = admin.run(readiness.subscribe(), Arc::new(metrics), debug, shutdown.clone());
        let visits = async {
            assert!(request(address, "/healthz").await.starts_with("HTTP/1.1 200"));
            let answer = request(address, "/readyz").await;
            assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
            assert!(answer.ends_with("not ready: no catalog yet\n"), "{answer}");
            readiness.send_replace(Readiness::Ready);
            assert!(request(address, "/readyz").await.starts_with("HTTP/1.1 200"));
            let answer = request(address, "/metrics").await;
            assert!(answer.contains("mesh_xds_pushes_total 1\n"), "{answer}");
            assert!(answer.ends_with("# EOF\n"), "{answer}");
            assert!(request(address, "/debug/catalog").await.ends_with("empty"));
            shutdown.cancel();
        };
        let (served, ()) = tokio::join!(server, visits);
        served.unwrap();
    }

    #[tokio::test]
    async fn an_address_that_others_can_reach_is_refused() {
        let error = Admin::bind("0.0.0.0:0".parse().unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("0.0.0.0:0 is not on loopback"), "{error}");
    }
}
