//! Pages for people: a viewer of the OpenAPI document in which calls can be tried, and the state of all schemas.
//!
//! ```text
//!  /              leads to /docs/
//!  /docs/         Swagger UI, shipped within this program
//!  /openapi.json  the document
//!  /try/…         a call that is tried, through the gateway's listener for the Router
//!  /schemas       versions, ages and errors as a table; /schemas.json the same for programs
//! ```
//!
//! In: the handle of schemas, the System as the control plane describes it. Out: a router that the server mounts.
//!
//! **Invariants**: nothing is loaded from elsewhere, and the browser is told to load nothing from elsewhere; what services
//! and documents say is escaped. **Absent**: authentication: who mounts the router decides who sees it.

mod table;
pub mod trial;

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{Html, IntoResponse, Json, Redirect, Response};
use axum::routing::get;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;
use utoipa_swagger_ui::{Config, SwaggerUi};
use xxhash_rust::xxh3::xxh3_128;

use crate::openapi::{Described, document};
use crate::schema::{Schemas, Snapshot};
use crate::transcode::JsonOptions;

/// Everything from here; styles and pictures that Swagger UI makes itself; calls to wherever the System is.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src *; \
                      frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// What the pages show.
#[derive(Debug, Clone)]
pub struct Pages {
    schemas: Schemas,
    described: watch::Receiver<Arc<Described>>,
    json: JsonOptions,
    cached: Arc<Mutex<Option<Cached>>>,
}

/// The document that was asked for last.
#[derive(Debug, Clone)]
struct Cached {
    snapshot: Arc<Snapshot>,
    described: Arc<Described>,
    bytes: Bytes,
    etag: HeaderValue,
}

impl Pages {
    /// Pages of these schemas and this System, whose answers are written so.
    pub fn new(
        schemas: Schemas,
        described: watch::Receiver<Arc<Described>>,
        json: JsonOptions,
    ) -> Self {
        Self { schemas, described, json, cached: Arc::default() }
    }

    /// The pages, to be mounted at a root of their own.
    pub fn router(self) -> Router {
        // Relative, so that the pages work below any path.
        let viewer = Config::from("../openapi.json")
            .try_it_out_enabled(true)
            .display_request_duration(true)
            .filter(true)
            // Without the field that loads a document from any address.
            .use_base_layout()
            // Its default sends the document to a public service.
            .validator_url("none");
        Router::new()
            .route("/", get(|| async { Redirect::to("docs/") }))
            .route("/openapi.json", get(openapi))
            .route("/schemas", get(schemas))
            .route("/schemas.json", get(schemas_json))
            .with_state(self)
            .merge(SwaggerUi::new("/docs").config(viewer))
            .layer(map_response(guard))
    }

    /// The document, made anew only when something changed that it speaks of.
    fn document(&self) -> Cached {
        let (snapshot, described) = (self.schemas.snapshot(), self.described.borrow().clone());
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cached) = cached.as_ref() {
            let is_same = Arc::ptr_eq(&cached.described, &described)
                && cached.snapshot.has_versions_of(&snapshot);
            if is_same {
                return cached.clone();
            }
        }
        let bytes = Bytes::from(document(&described, &snapshot, self.json).to_string());
        let etag = format!("\"{:032x}\"", xxh3_128(&bytes));
        let etag = HeaderValue::from_str(&etag).unwrap_or(HeaderValue::from_static("\"\""));
        cached.insert(Cached { snapshot, described, bytes, etag }).clone()
    }
}

async fn openapi(State(pages): State<Pages>, headers: HeaderMap) -> Response {
    // A large schema takes a while: beside the threads that serve requests.
    let Ok(document) = tokio::task::spawn_blocking(move || pages.document()).await else {
        let failed = "the document cannot be made of these schemas; the log says why";
        return (StatusCode::INTERNAL_SERVER_ERROR, failed).into_response();
    };
    let caching =
        [(ETAG, document.etag.clone()), (CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    if headers.get(IF_NONE_MATCH) == Some(&document.etag) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (caching, json, document.bytes).into_response()
}

async fn schemas(State(pages): State<Pages>) -> Html<String> {
    let system = pages.described.borrow().system.clone();
    Html(table::page(&system, &pages.schemas.snapshot().status(Instant::now())))
}

async fn schemas_json(State(pages): State<Pages>) -> Response {
    Json(pages.schemas.snapshot().status(Instant::now())).into_response()
}

async fn guard(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
