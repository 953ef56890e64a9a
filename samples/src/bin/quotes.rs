//! `quotes`: a gRPC application with health and reflection services, as gRPC tools expect them.

use std::pin::Pin;
use std::time::Duration;

use clap::Parser;
use samples::quotes::quotes_server::{Quotes, QuotesServer};
use samples::quotes::{DESCRIPTORS, GetQuoteRequest, Quote, WatchQuotesRequest};
use samples::reflection::Reflection;
use samples::{Flags, log, told_to_stop};
use serde_json::json;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

struct App {
    instance: String,
}

impl App {
    fn quote(&self, symbol: &str) -> Result<Quote, Status> {
        if symbol.is_empty() {
            return Err(Status::invalid_argument("symbol is empty; try ACME"));
        }
        let price_cents = symbol.bytes().map(i64::from).sum::<i64>() * 37;
        Ok(Quote { symbol: symbol.to_owned(), price_cents, instance: self.instance.clone() })
    }
}

fn log_call<T>(method: &str, symbol: &str, answer: &Result<T, Status>) {
    let code = answer.as_ref().err().map_or(tonic::Code::Ok, Status::code);
    log(&json!({"method": method, "symbol": symbol, "code": format!("{code:?}")}));
}

#[tonic::async_trait]
impl Quotes for App {
    async fn get_quote(
        &self,
        request: Request<GetQuoteRequest>,
    ) -> Result<Response<Quote>, Status> {
        let symbol = request.into_inner().symbol;
        let answer = self.quote(&symbol);
        log_call("GetQuote", &symbol, &answer);
        answer.map(Response::new)
    }

    type WatchQuotesStream = Pin<Box<dyn Stream<Item = Result<Quote, Status>> + Send>>;

    async fn watch_quotes(
        &self,
        request: Request<WatchQuotesRequest>,
    ) -> Result<Response<Self::WatchQuotesStream>, Status> {
        let WatchQuotesRequest { symbol, count, interval_ms } = request.into_inner();
        let answer = self.quote(&symbol);
        log_call("WatchQuotes", &symbol, &answer);
        let quote = answer?;
        let count = if count == 0 { 3 } else { count.min(1000) };
        let pause = Duration::from_millis(if interval_ms == 0 { 100 } else { interval_ms.into() });
        let quotes = tokio_stream::iter((0..count).map(move |_| Ok(quote.clone()))).throttle(pause);
        Ok(Response::new(Box::pin(quotes)))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<QuotesServer<App>>().await;
    Server::builder()
        .add_service(QuotesServer::new(App { instance: flags.instance }))
        .add_service(health_service)
        .add_service(Reflection::server(DESCRIPTORS)?)
        .serve_with_shutdown(flags.listen, told_to_stop())
        .await?;
    Ok(())
}
