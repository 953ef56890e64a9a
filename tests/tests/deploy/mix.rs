//! The load of every scene: short requests, requests of five seconds and streams, over HTTP/1.1, HTTP/2 and gRPC, through
//! Router and gateway and between Systems.
//!
//! In: where the Router answers, a rate. Out: an [`Outcome`]. Each kind of request has a schedule of its own, so that no
//! kind waits for another.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use lab::http::Client;
use lab::load::{Call, Load, LoadReport, LoadSpec};
use prost::Message as _;

/// A host that no System claims: the path decides.
const LOCAL: &str = "localhost";
/// The host of System `trading`, by which gRPC comes: its paths are the services' own.
pub(crate) const TRADING_HOST: &str = "trading.example.com";
/// Longer than anything that is asked for takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the longest requests take.
pub(crate) const LONGEST: Duration = Duration::from_secs(5);
/// Pieces of a stream of HTTP: three seconds long.
const LINES: usize = 30;
/// Messages of a stream of gRPC: five seconds long.
const MESSAGES: usize = 50;

/// Whether a request is over at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Short,
    Long,
}

/// One kind of request.
struct Kind {
    name: &'static str,
    call: Call,
    host: &'static str,
    path: String,
    length: Length,
    /// Of a hundred requests.
    share: u32,
}

impl Kind {
    fn new(name: &'static str, call: Call, path: impl Into<String>, share: u32) -> Self {
        let path = path.into();
        Self { name, call, host: LOCAL, path, length: Length::Short, share }
    }

    fn grpc(name: &'static str, call: Call, method: &str, share: u32) -> Self {
        let path = format!("/quotes.v1.Quotes/{method}");
        Self { host: TRADING_HOST, ..Self::new(name, call, path, share) }
    }

    fn long(mut self) -> Self {
        self.length = Length::Long;
        self
    }
}

/// A hundred requests.
fn kinds() -> Vec<Kind> {
    let quote = samples::quotes::GetQuoteRequest { symbol: "ACME".to_owned() };
    let quote = Bytes::from(quote.encode_to_vec());
    let watch = samples::quotes::WatchQuotesRequest {
        symbol: "ACME".to_owned(),
        count: u32::try_from(MESSAGES).unwrap(),
        interval_ms: 100,
    };
    let watch = Bytes::from(watch.encode_to_vec());
    let lines = format!("/trading/stream?count={LINES}&ms=100");
    vec![
        Kind::new("HTTP/1.1 GET", Call::Get, "/trading/orders/7", 30),
        Kind::new("HTTP/1.1 POST", Call::Post, "/trading/slow?ms=20", 15),
        Kind::new("HTTP/2 GET", Call::Http2Get, "/trading/orders/7", 12),
        Kind::new("HTTP/2 POST", Call::Http2Post, "/trading/slow?ms=20", 7),
        Kind::grpc("gRPC", Call::Grpc(quote), "GetQuote", 16),
        Kind::new("between Systems", Call::Get, "/portfolio/positions/7", 12),
        Kind::new("HTTP/1.1 POST of 5 s", Call::Post, "/trading/slow?ms=5000", 2).long(),
        Kind::new("HTTP/2 POST of 5 s", Call::Http2Post, "/trading/slow?ms=5000", 2).long(),
        Kind::new("HTTP/1.1 stream", Call::Stream(LINES), lines.clone(), 1).long(),
        Kind::new("HTTP/2 stream", Call::Http2Stream(LINES), lines, 1).long(),
        Kind::grpc("gRPC stream", Call::GrpcStream(watch, MESSAGES), "WatchQuotes", 2).long(),
    ]
}

/// The load, under way.
pub(crate) struct Mix {
    loads: Vec<(Kind, Load)>,
}

/// What came of it.
pub(crate) struct Outcome {
    /// By kind.
    pub(crate) kinds: Vec<(&'static str, LoadReport)>,
    /// Of everything.
    pub(crate) all: LoadReport,
    /// Of what is over at once: the others' latency is what they asked for.
    pub(crate) short: LoadReport,
}

impl Mix {
    /// Begins to send so many requests a second.
    pub(crate) fn start(address: SocketAddr, rate: u32) -> Self {
        let load = |kind: &Kind| {
            Load::start(LoadSpec {
                client: Client::new(),
                address,
                host: kind.host.to_owned(),
                path: kind.path.clone(),
                call: kind.call.clone(),
                rate: (rate * kind.share / 100).max(1),
                timeout: PATIENCE,
            })
        };
        let loads = kinds().into_iter().map(|kind| {
            let load = load(&kind);
            (kind, load)
        });
        Self { loads: loads.collect() }
    }

    /// Waits until every kind has sent for so long.
    pub(crate) async fn goes_on_for(&mut self, span: Duration, rate: u32) {
        let seconds = span.as_secs().max(1);
        let each = self.loads.iter_mut().map(|(kind, load)| {
            load.until_more_sent(u64::from((rate * kind.share / 100).max(1)) * seconds)
        });
        futures::future::join_all(each).await;
    }

    /// Stops sending, and waits for what is under way.
    pub(crate) async fn finish(self) -> Outcome {
        let mut kinds = Vec::new();
        let (mut all, mut short) = (LoadReport::default(), LoadReport::default());
        let ends = self.loads.into_iter();
        let ends = ends.map(async |(kind, load)| (kind, load.finish().await.unwrap()));
        for (kind, report) in futures::future::join_all(ends).await {
            all.absorb(report.clone());
            if kind.length == Length::Short {
                short.absorb(report.clone());
            }
            kinds.push((kind.name, report));
        }
        Outcome { kinds, all, short }
    }
}

impl Outcome {
    /// How many requests each protocol had, and how many of them were long.
    pub(crate) fn protocols(&self) -> String {
        let of = |prefix: &str| -> u64 {
            let own = self.kinds.iter().filter(|(name, _)| name.starts_with(prefix));
            own.map(|(_, report)| report.sent).sum()
        };
        let long = self.all.sent - self.short.sent;
        format!(
            "HTTP/1.1 {}, HTTP/2 {}, gRPC {}, between Systems {}; {long} of 3 to 5 s",
            of("HTTP/1.1"),
            of("HTTP/2"),
            of("gRPC"),
            of("between"),
        )
    }

    /// What was lost, by kind, for people.
    pub(crate) fn losses(&self) -> String {
        let lost = self.kinds.iter().filter(|(_, report)| report.lost() > 0);
        lost.map(|(name, report)| format!("\n  {name}: {report}")).collect()
    }
}
