//! The read-only JSON API (design 3.5) and the debug pages: what this replica knows, and what its proxies have.
//!
//! In: the newest catalog, model and table of proxies. Out: the types of [`contract::api`].
//!
//! **Invariants**: nothing here changes anything; answers are computed when asked, no state is kept for them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use axum_server::tls_rustls::RustlsConfig;
use contract::api::{
    ApiError, Convergence, Explanation, Problem, ProxyResources, ProxyView, ServiceView, Status,
    SystemView,
};
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::catalog::run::CatalogState;
use crate::config::ApiListener;
use crate::mesh::{MeshModel, explain, listing};
use crate::xds::cache::{GroupKey, group};
use crate::xds::server::{ConnectedProxy, NoStatus, ProxyTable};

mod access;
mod convergence;
mod views;

/// How long answers under way may take when the process stops.
const GRACE: Duration = Duration::from_secs(2);

/// How many streams are asked at once.
const ASK_AT_ONCE: usize = 64;

/// What the API reads.
#[derive(Debug, Clone)]
pub struct ApiState {
    /// The catalog.
    pub catalog: watch::Receiver<CatalogState>,
    /// The mesh.
    pub model: watch::Receiver<Arc<MeshModel>>,
    /// The connected proxies.
    pub proxies: ProxyTable,
    /// The start of the process, from which sources count.
    pub started: Instant,
}

/// Serves the API until shutdown, over TLS where there is a certificate, to those who show the token where there is one.
///
/// # Errors
/// When the certificate cannot be used or the listener fails.
pub async fn serve(
    listener: std::net::TcpListener,
    access: ApiListener,
    state: ApiState,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let routes = match access.token {
        Some(token) => access::guarded(routes(state), token),
        None => routes(state),
    };
    let service = routes.into_make_service();
    let handle = axum_server::Handle::new();
    let stop = async {
        shutdown.cancelled().await;
        handle.graceful_shutdown(Some(GRACE));
        std::future::pending::<()>().await;
    };
    let serve = async {
        match access.tls {
            None => axum_server::from_tcp(listener)?.handle(handle.clone()).serve(service).await,
            Some(files) => {
                let tls = RustlsConfig::from_pem_file(files.certificate, files.key).await?;
                axum_server::from_tcp_rustls(listener, tls)?
                    .handle(handle.clone())
                    .serve(service)
                    .await
            }
        }
    };
    tokio::select! {
        served = serve => served,
        () = stop => Ok(()),
    }
}

/// Every path of the API.
fn routes(state: ApiState) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/systems", get(systems))
        .route("/v1/routes", get(routes_of))
        .route("/v1/services", get(services))
        .route("/v1/problems", get(problems))
        .route("/v1/proxies", get(proxies))
        .route("/v1/proxies/{id}/resources", get(resources))
        .route("/v1/proxies/{id}/explain", get(explain_proxy))
        .route("/v1/convergence", get(converge))
        .fallback(async || not_found("no such path: see docs/operations.md for the API's paths"))
        .with_state(state)
}

/// The debug pages of the admin port.
pub fn debug_pages(state: ApiState, config: String) -> Router {
    Router::new()
        .route("/debug/config", get(async move || config))
        .route("/debug/catalog", get(services))
        .route("/debug/mesh", get(systems))
        .route("/debug/problems", get(problems))
        .route("/debug/proxies", get(proxies))
        .with_state(state)
}

async fn status(State(api): State<ApiState>) -> Json<Status> {
    let state = api.catalog.borrow().clone();
    Json(views::status(&state, api.started.elapsed(), api.proxies.len()))
}

async fn systems(State(api): State<ApiState>) -> Json<Vec<SystemView>> {
    let model = api.model.borrow().clone();
    Json(model.systems.values().map(|system| views::system(&model, system)).collect())
}

/// Query of `/v1/routes`.
#[derive(Debug, Deserialize)]
struct RoutesQuery {
    system: Option<String>,
}

async fn routes_of(State(api): State<ApiState>, Query(query): Query<RoutesQuery>) -> Response {
    let model = api.model.borrow().clone();
    let Some(name) = query.system else {
        let all = model.systems.values().map(|system| listing::gateway_routes(system));
        return Json(all.collect::<Vec<_>>()).into_response();
    };
    match model.systems.get(name.as_str()) {
        Some(system) => Json(vec![listing::gateway_routes(system)]).into_response(),
        None => not_found(&format!("no System {name:?}: GET /v1/systems lists them")),
    }
}

async fn services(State(api): State<ApiState>) -> Json<Vec<ServiceView>> {
    let model = api.model.borrow().clone();
    Json(
        model.catalog.services().map(|(spec, instances)| views::service(spec, instances)).collect(),
    )
}

async fn problems(State(api): State<ApiState>) -> Json<Vec<Problem>> {
    Json(explain::all_problems(&api.model.borrow().clone()))
}

async fn proxies(State(api): State<ApiState>) -> Json<Vec<ProxyView>> {
    let asked = api.ask_all().await;
    let views = asked.into_iter().map(|(proxy, status)| {
        views::proxy(&proxy, status.map(|status| status.types).unwrap_or_default())
    });
    Json(views.collect())
}

async fn resources(State(api): State<ApiState>, Path(id): Path<String>) -> Response {
    match api.proxies.status(&id).await {
        Ok(status) => {
            let resources =
                status.types.iter().flat_map(|kind| &kind.resources).map(|r| r.view()).collect();
            Json(ProxyResources { id, resources }).into_response()
        }
        Err(error) => no_status(&error),
    }
}

async fn explain_proxy(State(api): State<ApiState>, Path(id): Path<String>) -> Response {
    let Some(proxy) = api.proxies.list().into_iter().rev().find(|proxy| proxy.node.id == id) else {
        return no_status(&NoStatus::NotConnected);
    };
    let model = api.model.borrow().clone();
    let node = &proxy.node.metadata;
    let reach = group::reach(&model, &GroupKey::of(node, &proxy.node.cluster));
    Json(Explanation {
        id,
        role: node.role,
        system: node.system.clone(),
        items: explain::items(&model, node, &reach.tables, &reach.tcp, &reach.issuers),
        problems: explain::problems(&model, node.system.as_ref()),
    })
    .into_response()
}

/// Query of `/v1/convergence`.
#[derive(Debug, Deserialize)]
struct ConvergenceQuery {
    service: String,
    system: String,
    #[serde(default)]
    present: String,
    #[serde(default)]
    absent: String,
    #[serde(default)]
    stable: String,
    #[serde(default)]
    canary: String,
}

async fn converge(State(api): State<ApiState>, Query(query): Query<ConvergenceQuery>) -> Response {
    let list = |text: &str| -> Vec<String> {
        text.split(',').map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned).collect()
    };
    let key = match (query.system.parse(), query.service.parse()) {
        (Ok(system), Ok(name)) => contract::name::ServiceKey { system, name },
        (Err(error), _) | (_, Err(error)) => return bad_request(error.to_string()),
    };
    let model = api.model.borrow().clone();
    let asked = api.ask_all().await;
    let expected = convergence::Expected {
        present: list(&query.present),
        absent: list(&query.absent),
        stable: list(&query.stable),
        canary: list(&query.canary),
    };
    let answer: Convergence = convergence::judge(&model, &key, &expected, &asked);
    Json(answer).into_response()
}

impl ApiState {
    /// Every connected proxy with the status of its stream.
    async fn ask_all(&self) -> Vec<convergence::Asked> {
        use futures::StreamExt;
        futures::stream::iter(self.proxies.list())
            .map(async |proxy: ConnectedProxy| {
                let status = proxy.status().await;
                (proxy, status)
            })
            .buffered(ASK_AT_ONCE)
            .collect()
            .await
    }
}

fn no_status(error: &NoStatus) -> Response {
    match error {
        NoStatus::NotConnected => not_found(&error.to_string()),
        NoStatus::Stalled => fail(StatusCode::GATEWAY_TIMEOUT, error.to_string()),
    }
}

fn not_found(error: &str) -> Response {
    fail(StatusCode::NOT_FOUND, error.to_owned())
}

fn bad_request(error: String) -> Response {
    fail(StatusCode::BAD_REQUEST, error)
}

fn fail(status: StatusCode, error: String) -> Response {
    (status, Json(ApiError { error })).into_response()
}

/// Seconds, whole.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs()
}
