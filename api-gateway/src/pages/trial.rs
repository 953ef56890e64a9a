//! Calls that people try on the page, handed to the gateway's listener for the Router.
//!
//! In: requests below `/try/` from the page itself. Out: what the gateway answers, as it comes. The page and its calls have
//! one origin so, and no System must let the page's in (CORS).
//!
//! **Invariants**: nothing is let through that the gateway would not let through for a client of the Router; pages of
//! other origins are refused, because a browser would send such requests for them.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::header::{CONNECTION, HOST, ORIGIN, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use service::ErrorChain;

/// Where calls are tried, as the OpenAPI document names it from its own address.
pub const SERVER: &str = "try";
const BELOW: &str = "/try";

#[derive(Clone)]
struct Trial {
    ingress: Authority,
    client: Client<HttpConnector, Body>,
}

/// Hands what is below `/try/` to this listener.
pub fn router(ingress: SocketAddr) -> Router {
    let client = Client::builder(TokioExecutor::new()).build_http();
    // An address is an authority; an empty one would refuse every call.
    let ingress = ingress.to_string().parse().unwrap_or(Authority::from_static("127.0.0.1:0"));
    Router::new().route("/try/{*path}", any(hand_on)).with_state(Trial { ingress, client })
}

async fn hand_on(State(trial): State<Trial>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    if !is_from_here(&head.headers) {
        let foreign = "calls can be tried from this page alone";
        return (StatusCode::FORBIDDEN, foreign).into_response();
    }
    let inside = head.uri.path_and_query().and_then(|all| all.as_str().strip_prefix(BELOW));
    let inside = inside.and_then(|rest| rest.parse::<PathAndQuery>().ok());
    let mut uri = Uri::default().into_parts();
    (uri.scheme, uri.authority) = (Some(Scheme::HTTP), Some(trial.ingress));
    uri.path_and_query = inside;
    let Ok(uri) = Uri::from_parts(uri) else {
        return (StatusCode::BAD_REQUEST, "this path cannot be handed on").into_response();
    };
    let headers = passed_on(&head.headers);
    let mut call = Request::new(body);
    (*call.method_mut(), *call.uri_mut(), *call.headers_mut()) = (head.method, uri, headers);
    match trial.client.request(call).await {
        Ok(answer) => {
            let mut answer = answer.map(Body::new);
            for name in [CONNECTION, TRANSFER_ENCODING] {
                answer.headers_mut().remove(name);
            }
            answer
        }
        Err(error) => {
            let why = format!("the gateway's Envoy cannot be reached: {}", ErrorChain(&error));
            (StatusCode::BAD_GATEWAY, why).into_response()
        }
    }
}

/// What a client of the Router may say: not what belongs to this connection, and not what the mesh says of callers.
fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let of_mesh = ["x-mesh-", "x_mesh", "x-envoy-", "x-forwarded-"];
    let is_kept = |(name, _): &(&HeaderName, &HeaderValue)| {
        ![CONNECTION, HOST, ORIGIN, TRANSFER_ENCODING].contains(name)
            && !of_mesh.iter().any(|prefix| name.as_str().starts_with(prefix))
    };
    let kept = headers.iter().filter(is_kept);
    let mut passed_on: HeaderMap =
        kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    passed_on.insert(HOST, HeaderValue::from_static("localhost"));
    passed_on
}

/// Whether the page asks, or no page at all.
fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match (headers.contains_key(ORIGIN), text(ORIGIN), text(HOST)) {
        (false, ..) => true,
        (true, Some(origin), Some(host)) => origin.strip_prefix("http://") == Some(host),
        _ => false,
    }
}
