//! What the gateway's Envoy says that the System exposes: read from the Envoy itself, so that it is what is in force.
//!
//! In: [`ROUTES_PATH`] at the egress listener, every second. Out: the same at the admin server, what the pages describe, and
//! schemas that are looked after before requests for them come.
//!
//! **Invariants**: an Envoy that does not answer takes nothing away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use bytes::Bytes;
use contract::gateway::{GatewayRoutes, MESH_HOST, ROUTES_PATH};
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use service::ErrorChain;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::openapi::Described;
use crate::pages::trial;
use crate::schema::Schemas;

/// How often Envoy is asked.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Far above what a System's routes need.
const MOST_BYTES: usize = 16 << 20;

/// Why Envoy said nothing that can be used.
#[derive(Debug, thiserror::Error)]
enum Unheard {
    #[error("the gateway's Envoy cannot be reached at its egress listener")]
    Connect(#[from] hyper_util::client::legacy::Error),
    #[error("the gateway's Envoy answers {0}: it has no routes of this System yet")]
    Status(u16),
    #[error("the answer breaks off")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the answer is not what this version knows")]
    Json(#[from] serde_json::Error),
    #[error("no answer within {PATIENCE:?}")]
    Late,
    #[error("the egress address makes no URL")]
    Address(#[from] http::Error),
}

/// Asks the Envoy.
#[derive(Debug)]
pub struct RoutesFollower {
    client: Client<HttpConnector, Empty<Bytes>>,
    egress: SocketAddr,
    schemas: Schemas,
    /// Whether calls can be tried on the page.
    has_trial: bool,
    told: watch::Sender<Told>,
    described: watch::Sender<Arc<Described>>,
}

/// What Envoy told last; `None`: nothing yet.
type Told = Option<Arc<GatewayRoutes>>;

/// The page of a System's routes, to be mounted at a root of its own.
pub fn page(known: &Known) -> Router {
    Router::new().route(ROUTES_PATH, get(listed)).with_state(known.told.clone())
}

async fn listed(State(told): State<watch::Receiver<Told>>) -> Response {
    let told = told.borrow().clone();
    let nothing = "the gateway's Envoy has told no routes yet; see whether it runs, and has the control plane's";
    told.map_or_else(
        || (StatusCode::SERVICE_UNAVAILABLE, nothing).into_response(),
        |routes| Json(&*routes).into_response(),
    )
}

/// What is known of the gateway's routes.
#[derive(Debug, Clone)]
pub struct Known {
    /// As Envoy told it last; `None`: it has told nothing yet.
    pub told: watch::Receiver<Option<Arc<GatewayRoutes>>>,
    /// What the pages describe.
    pub described: watch::Receiver<Arc<Described>>,
}

impl RoutesFollower {
    /// Prepares it; nothing is known until [`Self::run`] has asked.
    pub fn new(egress: SocketAddr, has_trial: bool, schemas: Schemas) -> (Self, Known) {
        let (told, last) = watch::channel(None);
        let (described, receiver) = watch::channel(Arc::default());
        let client = Client::builder(TokioExecutor::new()).build_http();
        let known = Known { told: last, described: receiver };
        (Self { client, egress, schemas, has_trial, told, described }, known)
    }

    /// Asks until shutdown.
    ///
    /// # Errors
    /// None; the type is that of a task.
    pub async fn run(
        mut self,
        shutdown: CancellationToken,
    ) -> Result<(), std::convert::Infallible> {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_silent = false;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            match timeout(PATIENCE, self.ask()).await.unwrap_or(Err(Unheard::Late)) {
                Ok(routes) => {
                    if std::mem::take(&mut is_silent) {
                        info!("The gateway's routes are told again");
                    }
                    self.take(routes).await;
                }
                // The first failure is news; Envoy and the application often start at the same moment.
                Err(error) if !is_silent && self.told.borrow().is_some() => {
                    is_silent = true;
                    warn!(error = %ErrorChain(&error), "The gateway's routes are not told any more");
                }
                Err(error) => {
                    debug!(error = %ErrorChain(&error), "The gateway's routes are not told")
                }
            }
        }
    }

    async fn take(&mut self, routes: GatewayRoutes) {
        if self.told.borrow().as_deref() == Some(&routes) {
            return;
        }
        self.schemas.list(routes.conversions.clone()).await;
        let mut described = Described::from(&routes);
        if self.has_trial {
            described.servers.insert(0, trial::SERVER.to_owned());
        }
        self.described.send_replace(Arc::new(described));
        self.told.send_replace(Some(Arc::new(routes)));
    }

    async fn ask(&self) -> Result<GatewayRoutes, Unheard> {
        let uri = Uri::builder()
            .scheme("http")
            .authority(self.egress.to_string())
            .path_and_query(ROUTES_PATH)
            .build()?;
        let request = Request::get(uri).header(header::HOST, MESH_HOST).body(Empty::new())?;
        let response = self.client.request(request).await?;
        if !response.status().is_success() {
            return Err(Unheard::Status(response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
        Ok(serde_json::from_slice(&body.map_err(Unheard::Body)?.to_bytes())?)
    }
}
