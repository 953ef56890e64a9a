//! The port that the gateway's Envoy reaches: requests to convert, and Envoy's questions.
//!
//! In: connections from loopback, HTTP/1.1 and h2c. Out: answers. A request with [`CONVERT_HEADER`] is converted, whatever
//! its path; everything else is for the router that the wiring brings.
//!
//! **Invariants**: at the end of the process no request under way is cut before [`GRACE`]; nothing is believed about a
//! request but what Envoy wrote into its headers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use contract::conversion::{CONVERT_HEADER, Conversion};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::metrics::ConversionMetrics;
use crate::schema::{Apis, SchemaError, Schemas};
use crate::transcode::{Api, Egress, Options, Refusal, call};

/// How long requests under way may take when the process stops.
pub const GRACE: Duration = Duration::from_secs(10);
/// Requests of one connection at a time; Envoy opens another one beyond.
const STREAMS: u32 = 1000;
/// Headers of a request, in bytes: above the 96 KiB that Envoy's listeners let through, of which HTTP/2 counts each header
/// with 32 bytes more.
const HEADER_BYTES: u32 = 128 << 10;
/// A pause after a connection could not be taken, which is so when the process has too many files open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What requests are answered with.
#[derive(Debug, Clone)]
pub struct Server {
    /// What gRPC services look like.
    pub schemas: Schemas,
    /// How services are reached.
    pub egress: Egress,
    /// How JSON is written, how large things may be.
    pub options: Arc<Options>,
    /// Counts what is converted.
    pub metrics: ConversionMetrics,
    /// Answers everything that is not to be converted.
    pub others: Router,
}

impl Server {
    /// Serves until shutdown.
    ///
    /// # Errors
    /// None; the type is that of a task.
    pub async fn run(self, listener: TcpListener, shutdown: CancellationToken) -> io::Result<()> {
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                // A connection that panicked has written so to standard error, and concerns nobody else.
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((connection, _)) => self.serve(connection, &graceful, &mut connections),
                Err(error) => {
                    warn!(%error, "A connection could not be taken");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
            warn!("Requests under way were cut off");
        }
        Ok(())
    }

    fn serve(
        &self,
        connection: TcpStream,
        graceful: &GracefulShutdown,
        connections: &mut JoinSet<()>,
    ) {
        if let Err(error) = connection.set_nodelay(true) {
            debug!(%error, "A connection ended at once");
            return;
        }
        let server = self.clone();
        let service = hyper::service::service_fn(move |request| {
            let server = server.clone();
            async move { Ok::<_, std::convert::Infallible>(server.answer(request).await) }
        });
        let mut http = Builder::new(TokioExecutor::new());
        http.http1().timer(TokioTimer::new());
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEADER_BYTES)
            // After a stall Envoy gives up at once all that waited too long, which is no attack: a connection that is closed
            // for it takes those with it that did not.
            .max_pending_accept_reset_streams(STREAMS as usize);
        let connection = http.serve_connection(TokioIo::new(connection), service).into_owned();
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "A connection failed");
            }
        });
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let conversion = request.headers().get(CONVERT_HEADER);
        let Some(conversion) = conversion.map(|value| value.to_str().map(str::to_owned)) else {
            return self
                .others
                .clone()
                .oneshot(request)
                .await
                .unwrap_or_else(|never| match never {});
        };
        let response = match conversion {
            Ok(conversion) => self.convert(&conversion, request).await,
            Err(_) => Refusal::unavailable("the route's conversion is not text").into_response(),
        };
        self.metrics.count(response.status());
        response.map(Body::new)
    }

    async fn convert(
        &self,
        conversion: &str,
        request: Request<Incoming>,
    ) -> Response<crate::transcode::AnswerBody> {
        let refused = |error: Arc<SchemaError>| {
            Refusal::unavailable(service::ErrorChain(&*error).to_string()).into_response()
        };
        let apis = match self.apis(conversion, &request).await {
            Ok(apis) => apis,
            Err(error) => return refused(error),
        };
        let upstream = match conversion.parse::<Conversion>() {
            Ok(conversion) => match conversion.service.as_str().parse() {
                Ok(authority) => self.egress.service(authority),
                Err(_) => {
                    return Refusal::unavailable("the service's name is no host").into_response();
                }
            },
            Err(error) => return Refusal::unavailable(error.to_string()).into_response(),
        };
        let response = call(&apis, &upstream, &self.options, request).await;
        if response.status() == StatusCode::NOT_IMPLEMENTED {
            // The service lacks a method of its schema: it may have another one by now.
            self.schemas.doubt(conversion);
        }
        response
    }

    /// The schemas of a conversion. A path that none of them knows may be that of a newer one.
    async fn apis<B>(
        &self,
        conversion: &str,
        request: &Request<B>,
    ) -> Result<Apis, Arc<SchemaError>> {
        let apis = self.schemas.apis(conversion).await?;
        let knows = |api: &Arc<Api>| api.find(request.method(), request.uri().path()).is_ok();
        if apis.iter().any(knows) {
            return Ok(apis);
        }
        self.schemas.apis_after_doubt(conversion).await
    }
}

#[cfg(test)]
mod tests;
