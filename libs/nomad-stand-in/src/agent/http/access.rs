//! Access control: which token may do what.
//!
//! In: a request. Out: the same, or 403. Without tokens in the settings everybody may do everything, as without `acl`.

use std::sync::Arc;

use axum::extract::{Request, State as Shared};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Api, Refused};
use crate::agent::settings::Policy;

/// Lets a request through, or not.
pub(super) async fn guard(Shared(api): Shared<Arc<Api>>, request: Request, next: Next) -> Response {
    if is_allowed(&api, &request) {
        return next.run(request).await;
    }
    Refused::new(StatusCode::FORBIDDEN, "Permission denied").into_response()
}

fn is_allowed(api: &Api, request: &Request) -> bool {
    let tokens = &api.settings.tokens;
    let Some(needed) =
        needed(request.method(), request.uri().path()).filter(|_| !tokens.is_empty())
    else {
        return true;
    };
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let bearer = || header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let policy = header("x-nomad-token").or_else(bearer).and_then(|token| tokens.get(token));
    policy.is_some_and(|policy| *policy >= needed)
}

/// The least that a request needs; `None`: nothing.
fn needed(method: &Method, path: &str) -> Option<Policy> {
    match path {
        "/v1/status/leader" | "/v1/status/peers" | "/v1/agent/health" | "/v1/regions" => None,
        _ if method == Method::GET => Some(Policy::Read),
        "/v1/jobs/parse" | "/v1/validate/job" => Some(Policy::Read),
        _ if path.starts_with("/v1/job/") && path.ends_with("/dispatch") => Some(Policy::Dispatch),
        _ => Some(Policy::Management),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_needs_what_it_does() {
        for (method, path, policy) in [
            (Method::GET, "/v1/status/leader", None),
            (Method::GET, "/v1/jobs", Some(Policy::Read)),
            (Method::POST, "/v1/jobs/parse", Some(Policy::Read)),
            (Method::POST, "/v1/job/a/dispatch", Some(Policy::Dispatch)),
            (Method::POST, "/v1/job/a/plan", Some(Policy::Management)),
            (Method::DELETE, "/v1/job/a", Some(Policy::Management)),
        ] {
            assert_eq!(needed(&method, path), policy, "{method} {path}");
        }
    }
}
