//! `positions`: an HTTP application of System `portfolio` that calls the gRPC service `quotes` of System `trading`.
//!
//! `/positions/{account}` answers what an account holds at today's price, and which instances had a part in it.

use std::sync::Arc;

use anyhow::Context;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use clap::Parser;
use samples::quotes::GetQuoteRequest;
use samples::quotes::quotes_client::QuotesClient;
use samples::{Flags, log_request, told_to_stop};
use serde_json::json;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

/// The service's name in the mesh: the sidecar finds the way by this authority.
const QUOTES: &str = "http://quotes.trading.mesh";

struct App {
    flags: Flags,
    quotes: QuotesClient<Channel>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let channel = Endpoint::from_shared(flags.egress.clone())
        .with_context(|| format!("--egress {:?} is not an address", flags.egress))?
        .origin(QUOTES.parse()?)
        .connect_lazy();
    let listener = tokio::net::TcpListener::bind(flags.listen)
        .await
        .with_context(|| format!("cannot listen on {}", flags.listen))?;
    let routes = Router::new()
        .route("/positions/{account}", get(positions))
        .route("/healthz", get(|| async { "ok" }))
        .layer(axum::middleware::from_fn(log_request))
        .with_state(Arc::new(App { flags, quotes: QuotesClient::new(channel) }));
    axum::serve(listener, routes).with_graceful_shutdown(told_to_stop()).await?;
    Ok(())
}

/// The trace that the request belongs to is passed on, as every application does that takes part in traces.
async fn positions(
    State(app): State<Arc<App>>,
    Path(account): Path<String>,
    headers: HeaderMap,
) -> Response {
    let mut request = Request::new(GetQuoteRequest { symbol: "ACME".to_owned() });
    if let Some(trace) =
        headers.get("traceparent").and_then(|value| value.to_str().ok()?.parse().ok())
    {
        request.metadata_mut().insert("traceparent", trace);
    }
    let by = &app.flags.instance;
    match app.quotes.clone().get_quote(request).await {
        Ok(quote) => {
            let quote = quote.into_inner();
            let answer = json!({
                "account": account, "shares": 10, "symbol": quote.symbol,
                "value_cents": quote.price_cents * 10, "instance": by, "quoted_by": quote.instance,
            });
            Json(answer).into_response()
        }
        Err(status) => {
            let answer = json!({"error": status.message(), "code": status.code().to_string(), "instance": by});
            (StatusCode::BAD_GATEWAY, Json(answer)).into_response()
        }
    }
}
