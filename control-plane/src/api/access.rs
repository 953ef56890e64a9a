//! Who may read the API: those who show its bearer token (RFC 6750, section 2.1).

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use service::secret::Secret;
use subtle::ConstantTimeEq;

use crate::api::fail;

/// The same routes, for callers with the token.
pub(super) fn guarded(routes: Router, token: Secret) -> Router {
    routes.layer(from_fn_with_state(token, check))
}

async fn check(State(token): State<Secret>, request: Request, next: Next) -> Response {
    let shown = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
        .unwrap_or_default();
    // In constant time: how long the comparison takes must not tell how much of a guess was right.
    if bool::from(shown.ct_eq(token.expose().as_bytes())) {
        return next.run(request).await;
    }
    let error = "the API wants its bearer token: with meshctl, --api-token-file FILE".to_owned();
    fail(StatusCode::UNAUTHORIZED, error)
}
