//! The System documents that the pages show, put in force as a reader would, and asked.
//!
//! In: every block of YAML that is a System document, by the heading that it stands under. Whether each key does what its
//! row says is for the tests of that feature; here it is that what is printed can be applied and works as a whole.

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;
use contract::registration::Protocol;
use http::{Method, Request, header};
use lab::placer::ServiceSpec;
use lab::process::Process;
use serde_json::{Value, json};

use crate::scene::{LOCAL, Scene, judge, soon};

/// Method, path at the Router, headers; status and part of the body.
type Ask = (&'static str, &'static str, &'static [(&'static str, &'static str)], u16, &'static str);

/// What becomes of requests once a document is in force.
const SHOWN: [(&str, &str, &[Ask]); 8] = [
    (
        "docs/gateway.md",
        "Which requests",
        &[
            ("GET", "/trading/orders/7", &[], 200, "orders-reader"),
            ("GET", "/trading/healthz", &[], 200, "ok"),
            ("GET", "/trading/nothing", &[], 404, "exposes nothing"),
        ],
    ),
    (
        "docs/gateway.md",
        "Where they go",
        &[
            ("GET", "/trading/shop/orders/7", &[], 200, "\"shop\""),
            ("GET", "/trading/start", &[], 308, ""),
            ("GET", "/trading/docs/x", &[], 302, ""),
            ("GET", "/trading/robots.txt", &[], 200, "User-agent: *"),
            ("GET", "/trading/status", &[], 200, r#"{"ok": true}"#),
        ],
    ),
    (
        "docs/gateway.md",
        "On the way",
        &[
            (
                "OPTIONS",
                "/trading/orders/7",
                &[("origin", "https://app.example.com"), ("access-control-request-method", "GET")],
                200,
                "",
            ),
            ("GET", "/trading/orders/7", &[], 200, "filled"),
        ],
    ),
    (
        "docs/gateway.md",
        "Authentication",
        &[
            ("GET", "/trading/orders/7", &[], 401, "an API key in the header x-api-key"),
            ("GET", "/trading/desk/7", &[], 401, "Jwt is missing"),
            ("GET", "/trading/reports/7", &[("x-api-key", "hunter2")], 401, "not an API key"),
            ("GET", "/trading/healthz", &[], 200, "ok"),
        ],
    ),
    (
        "docs/gateway.md",
        "The Router",
        &[
            ("GET", "/trading/orders/7", &[], 503, "Closed until 10:00."),
            ("GET", "/trading/orders/7", &[("accept", "text/html")], 503, "<p>Closed until 10:00."),
        ],
    ),
    (
        "docs/gateway.md",
        "Between Systems",
        &[
            ("GET", "/portfolio/orders/7", &[], 403, "default_auth"),
            // Through the sidecar of a service of `trading`, which the document of the page before let in.
            ("GET", "/trading/call/portfolio.mesh/orders/7", &[], 200, "\"positions\""),
        ],
    ),
    (
        "docs/gateway.md",
        "REST in front of gRPC",
        &[
            ("GET", "/trading/v1/quotes/7203", &[], 200, "priceCents"),
            ("GET", "/trading/v1/quotes/7203:watch?count=5", &[], 200, "\n{"),
            ("GET", "/trading/old/v1/quotes/7203", &[], 200, "priceCents"),
        ],
    ),
    (
        "docs/systems.md",
        "The document",
        &[("GET", "/trading/orders/7", &[], 200, "filled"), ("GET", "/trading/ws", &[], 400, "")],
    ),
];

/// A document with the page and the heading that it stands under.
struct Shown {
    page: &'static str,
    heading: String,
    text: String,
}

fn shown() -> Vec<Shown> {
    let mut all = Vec::new();
    for page in ["docs/gateway.md", "docs/systems.md"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
        let (mut heading, mut block) = (String::new(), None::<String>);
        for line in std::fs::read_to_string(path).unwrap().lines() {
            match &mut block {
                None if line.starts_with('#') => {
                    heading = line.trim_start_matches(['#', ' ']).to_owned();
                }
                None if line == "```yaml" => block = Some(String::new()),
                Some(_) if line == "```" => {
                    let text = block.take().unwrap();
                    if text.starts_with("kind: System\n") {
                        all.push(Shown { page, heading: heading.clone(), text });
                    }
                }
                Some(text) => text.push_str(&format!("{line}\n")),
                None => {}
            }
        }
    }
    all
}

/// The services that a document names.
fn services(document: &Value) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    let routes = document.get("routes").and_then(Value::as_array).into_iter().flatten();
    for route in routes {
        let mirrored = route.get("mirror").and_then(|mirror| mirror.get("to"));
        for to in [route.get("to"), mirrored].into_iter().flatten() {
            named.extend(to.as_str().map(str::to_owned));
            named.extend(to.as_object().into_iter().flatten().map(|(name, _)| name.clone()));
        }
    }
    named
}

/// The Consul services outside the mesh that it names.
fn externals(document: &Value) -> impl Iterator<Item = &str> {
    let external = document.get("external").and_then(Value::as_array).into_iter().flatten();
    external.filter_map(Value::as_str)
}

/// Applications beside the mesh's own, one for each name that documents use.
struct Extras(Vec<(String, Process)>);

impl Extras {
    /// Without a System it is outside the mesh.
    async fn register(&mut self, scene: &Scene, system: Option<&str>, name: &str) {
        let id = format!("{}-{name}", system.unwrap_or("none"));
        if scene.world.instances_of(name).next().is_some() || self.0.iter().any(|one| one.0 == id) {
            return;
        }
        let meta = system.map_or_else(|| json!({}), |system| json!({"mesh_system": system}));
        let (process, address) = scene.outsider(name);
        let registration = json!({
            "Name": name, "ID": id, "Address": "127.0.0.1", "Port": address.port(), "Meta": meta,
        });
        scene.consul(Method::PUT, "/v1/agent/service/register", Some(registration)).await;
        self.0.push((id, process));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_document_that_the_pages_show_can_be_applied_and_does_what_they_say() {
    let test = "every_document_that_the_pages_show_can_be_applied_and_does_what_they_say";
    let Some(mut scene) = Scene::with_consul(test, |options| options.control_planes = 1).await
    else {
        return;
    };
    let quotes = scene.parts.our("quotes").unwrap();
    let services_of_mesh = [
        ServiceSpec::api_gateway("trading"),
        ServiceSpec::api_gateway("portfolio"),
        scene.orders(),
        ServiceSpec::new("trading", "quotes", Protocol::Grpc, quotes),
    ];
    scene.world.place(&services_of_mesh).await.unwrap();
    // The descriptor file that the page tells how to make.
    let descriptors = scene.dir().join("quotes.binpb");
    std::fs::write(descriptors, samples::quotes::DESCRIPTORS).unwrap();
    let mut extras = Extras(Vec::new());
    // What is shown of another System leaves this one as it was, so one that lets everyone in goes first.
    let open = "kind: System\nname: trading\ndefault_auth: none\nroutes:\n- {match: {prefix: /}, to: orders}\n";
    let all = shown();
    let places: Vec<_> = all.iter().map(|one| (one.page, one.heading.as_str())).collect();
    let expected: Vec<_> = SHOWN.iter().map(|(page, heading, _)| (*page, *heading)).collect();
    assert_eq!(places, expected, "each document of the pages has its requests here");
    for (one, (_, _, asks)) in all.iter().zip(&SHOWN) {
        let document = contract::document::parse(&one.text, None).unwrap();
        let document = serde_json::to_value(&document).unwrap();
        let system = document.get("name").and_then(Value::as_str).unwrap();
        for name in services(&document) {
            extras.register(&scene, Some(system), &name).await;
        }
        for name in externals(&document) {
            extras.register(&scene, None, name).await;
        }
        if system != "trading" {
            scene.world.apply("trading", open).await.unwrap();
        }
        scene.world.apply(system, &one.text).await.unwrap();
        for ask in *asks {
            let what = format!("{}, {}: {} {}", one.page, one.heading, ask.0, ask.1);
            soon(&what, async || answered(&scene, ask).await).await;
        }
        soon(&format!("{}, {}: no problem is left", one.page, one.heading), async || {
            let problems = scene.problems().await.map_err(|error| format!("{error:?}"))?;
            if problems.is_empty() { Ok(()) } else { Err(format!("{problems:?}")) }
        })
        .await;
    }
    scene.end().await;
}

async fn answered(
    scene: &Scene,
    (method, path, headers, status, text): &Ask,
) -> Result<(), String> {
    let mut request = Request::builder().method(*method).uri(*path).header(header::HOST, LOCAL);
    for (name, value) in *headers {
        request = request.header(*name, *value);
    }
    let (client, router) = (scene.world.client(), scene.world.router_address());
    let answer = client.exchange(router, request, Bytes::new()).await;
    judge(&answer.map_err(|error| lab::chain(&error))?, *status, text)
}
