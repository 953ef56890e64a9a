//! The pages as a browser gets them, and in a real browser.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use api_gateway::openapi::{AuthWay, Described, RestRoute};
use api_gateway::pages::Pages;
use api_gateway::transcode::JsonOptions;
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use lab::parts::real_part_or_skip;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tower::ServiceExt as _;

use crate::harness::{
    Gateway, QUOTES, Service, conversion, patient, quotes, restless, soon, with_v1,
    without_reflection,
};

/// Pages of a gateway that converts [`QUOTES`].
struct Site {
    address: SocketAddr,
    router: Router,
    service: Service,
    gateway: Gateway,
    described: watch::Sender<Arc<Described>>,
    _task: AbortOnDropHandle<()>,
}

impl Site {
    async fn start(instance: tonic::service::Routes, pace: api_gateway::schema::Pace) -> Self {
        let service = Service::start(vec![instance]).await;
        let gateway = Gateway::start(service.egress.clone(), pace);
        gateway.schemas.list(vec![conversion(QUOTES)]).await;
        gateway.until("a look", QUOTES, |entry| entry.looked.is_some()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (described, watched) = watch::channel(Arc::new(trading()));
        let router = Pages::new(gateway.schemas.clone(), watched, JsonOptions::default()).router();
        let served = router.clone();
        #[expect(clippy::disallowed_methods, reason = "the test owns its server")]
        let task = tokio::spawn(async move { axum::serve(listener, served).await.unwrap() });
        Self { address, router, service, gateway, described, _task: AbortOnDropHandle::new(task) }
    }

    async fn get(&self, path: &str) -> Got {
        self.send(Request::get(path)).await
    }

    async fn send(&self, request: http::request::Builder) -> Got {
        let answer = self.router.clone().oneshot(request.body(Body::empty()).unwrap());
        let (parts, body) = soon("an answer", answer).await.unwrap().into_parts();
        let body = soon("its body", body.collect()).await.unwrap().to_bytes();
        Got { status: parts.status.as_u16(), headers: parts.headers, body }
    }
}

/// An answer.
struct Got {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Got {
    fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

fn trading() -> Described {
    Described {
        system: "trading".to_owned(),
        servers: vec!["/".to_owned()],
        ways: [("partners".to_owned(), AuthWay::ApiKey { header: "x-api-key".to_owned() })].into(),
        routes: vec![RestRoute {
            conversion: conversion(QUOTES),
            prefix: "/v1".to_owned(),
            rewrite: None,
            auth: vec!["partners".to_owned()],
        }],
    }
}

#[tokio::test]
async fn the_root_leads_to_the_viewer_which_is_served_from_here_alone() {
    let site = Site::start(with_v1(&quotes("one")), patient()).await;
    let root = site.get("/").await;
    assert_eq!((root.status, &root.headers["location"]), (303, &"docs/".parse().unwrap()));
    let viewer = site.get("/docs/").await;
    assert_eq!(viewer.status, 200);
    let policy = viewer.headers["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'self';"), "{policy}");
    let page = viewer.text();
    assert!(page.contains("swagger-ui-bundle.js") && !page.contains("http"), "{page}");
    let bundle = site.get("/docs/swagger-ui-bundle.js").await;
    assert!(bundle.body.len() > 500_000);
}

#[tokio::test]
async fn the_document_follows_schemas_and_system_and_is_not_sent_twice_unchanged() {
    let site = Site::start(with_v1(&quotes("one")), restless()).await;
    let first = site.get("/openapi.json").await;
    assert_eq!(first.headers["content-type"], "application/json");
    let etag = first.headers["etag"].clone();
    let paths = |document: Value| {
        let paths = document["paths"].as_object().unwrap();
        (document["info"]["title"].clone(), paths.keys().cloned().collect::<Vec<_>>())
    };
    let one = vec!["/v1/quotes/{symbol}".to_owned()];
    assert_eq!(paths(first.json()), ("trading".into(), one));
    let again = site.send(Request::get("/openapi.json").header("if-none-match", etag)).await;
    assert_eq!(again.status, 304);

    site.service.replace(vec![with_v1(&quotes("two"))]);
    site.gateway.until("the new version", QUOTES, |entry| entry.versions.len() == 2).await;
    site.described.send_replace(Arc::new(Described { system: "börse".to_owned(), ..trading() }));
    let two = vec!["/v1/quotes".to_owned(), "/v1/quotes/{symbol}".to_owned()];
    let changed = site.get("/openapi.json").await.json();
    assert_eq!(paths(changed), ("börse".into(), two));
}

#[tokio::test]
async fn the_page_of_schemas_tells_versions_and_errors_to_people_and_programs() {
    let site = Site::start(with_v1(&quotes("one")), patient()).await;
    let page = site.get("/schemas").await.text();
    assert!(page.contains("<code>quotes quotes.v1.Quotes</code>"), "{page}");
    assert!(page.contains("<code>GET /v1/quotes/{symbol}</code>"), "{page}");
    let status: Value = site.get("/schemas.json").await.json();
    assert_eq!(status[0]["versions"][0]["bindings"][0], "GET /v1/quotes/{symbol}");
    assert_eq!(status[0]["error"], Value::Null);

    let silent = Site::start(without_reflection(), patient()).await;
    let page = silent.get("/schemas").await.text();
    assert!(page.contains("none: requests are answered 503"), "{page}");
    assert!(page.contains("it answers no gRPC reflection"), "{page}");
}

#[tokio::test]
async fn what_others_say_is_shown_as_text() {
    let site = Site::start(with_v1(&quotes("one")), patient()).await;
    let named = Described { system: "<script>alert(1)</script>".to_owned(), ..trading() };
    site.described.send_replace(Arc::new(named));
    let page = site.get("/schemas").await.text();
    assert!(!page.contains("<script>") && page.contains("&lt;script&gt;alert(1)"), "{page}");
}

/// What a page becomes in a browser that finds no other host.
async fn in_browser(chromium: &std::path::Path, url: &str) -> String {
    let profile = tempfile::tempdir().unwrap();
    let browser = tokio::process::Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args(["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--no-first-run"])
        .args(["--virtual-time-budget=20000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(url)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(60), browser).await.unwrap().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_browser_shows_the_operations_in_the_viewer() {
    let test = "a_real_browser_shows_the_operations_in_the_viewer";
    let Some(chromium) = real_part_or_skip(test, "chromium") else { return };
    let site = Site::start(with_v1(&quotes("one")), patient()).await;
    let page = in_browser(&chromium, &format!("http://{}/docs/", site.address)).await;
    let operation = r#"id="operations-quotes\.v1\.Quotes-quotes\.v1\.Quotes\.Get""#;
    assert!(page.contains(operation), "{page}");
    let summary = r#"class="opblock-summary-description">The last price of one share.<"#;
    assert!(page.contains(summary), "{page}");
}
