//! A Nomad of three endpoints: listing, service, checks. Blocking queries, indexes, tags in another order each time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A registration; [`Instance::of`] is one of a service of the mesh.
#[derive(Debug, Clone)]
pub(super) struct Instance {
    pub(super) namespace: &'static str,
    pub(super) service: &'static str,
    pub(super) allocation: &'static str,
    pub(super) node: &'static str,
    pub(super) tags: Vec<&'static str>,
}

impl Instance {
    pub(super) fn of(service: &'static str, allocation: &'static str) -> Self {
        Self {
            namespace: "default",
            service,
            allocation,
            node: "n1",
            tags: vec!["mesh_system=trading", "mesh_protocol=grpc", "v1", "live"],
        }
    }

    fn answered(&self, turn: usize) -> Value {
        let mut tags = self.tags.clone();
        tags.rotate_left(turn % self.tags.len().max(1));
        let (service, allocation) = (self.service, self.allocation);
        json!({"Address": "10.0.0.1", "AllocID": allocation, "CreateIndex": 14, "Datacenter": "dc1",
               "ID": format!("_nomad-task-{allocation}-group-{service}-{service}-mesh"),
               "JobID": service, "ModifyIndex": 14, "Namespace": self.namespace, "NodeID": self.node,
               "Port": 23000, "ServiceName": service, "Tags": tags})
    }
}

/// What it does instead of its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// 500 "No cluster leader".
    NoLeader,
    /// 403, and nothing at all where every namespace was asked for.
    Denied,
    /// 403 for reads of one service or document.
    DeniedRead(&'static str),
    /// 200 with half of the body.
    Cut,
    /// Hosts do not answer for their checks.
    NoPath,
}

#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) index: u64,
    pub(super) instances: Vec<Instance>,
    /// Statuses by allocation; without an entry it has no checks.
    pub(super) checks: BTreeMap<&'static str, &'static str>,
    pub(super) fault: Option<Fault>,
    /// System documents by name, with the index at which they changed.
    pub(super) documents: BTreeMap<&'static str, (u64, &'static str)>,
    pub(super) token: Option<&'static str>,
    /// Every request, with its token.
    pub(super) requests: Vec<(String, Option<String>)>,
}

type Shared = (Arc<Mutex<World>>, watch::Sender<()>);

/// A server of a [`World`] on loopback.
pub(super) struct FakeNomad {
    address: SocketAddr,
    world: Arc<Mutex<World>>,
    changed: watch::Sender<()>,
    server: JoinSet<()>,
}

impl FakeNomad {
    pub(super) async fn start(instances: &[Instance]) -> Self {
        let world = World { index: 100, instances: instances.to_vec(), ..World::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut fake = Self {
            address,
            world: Arc::new(Mutex::new(world)),
            changed: watch::Sender::new(()),
            server: JoinSet::new(),
        };
        fake.serve(listener);
        fake
    }

    fn serve(&mut self, listener: TcpListener) {
        let routes = Router::new()
            .route("/v1/services", get(services))
            .route("/v1/service/{name}", get(service))
            .route("/v1/client/allocation/{id}/checks", get(checks))
            .route("/v1/vars", get(variables))
            .route("/v1/var/mesh/systems/{name}", get(variable))
            .with_state((Arc::clone(&self.world), self.changed.clone()));
        self.server.spawn(async move { axum::serve(listener, routes).await.unwrap() });
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registrations change, as servers do it: the index counts up and whoever waits wakes.
    pub(super) fn change(&self, change: impl FnOnce(&mut World)) {
        let mut world = self.world();
        world.index += 1;
        change(&mut world);
        drop(world);
        self.changed.send_replace(());
    }

    /// Something happens that wakes nobody: outcomes of checks, faults.
    pub(super) fn set(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.world());
    }

    /// Its process ends.
    pub(super) async fn kill(&mut self) {
        self.server.shutdown().await;
    }

    /// It runs again, with this index.
    pub(super) async fn restart(&mut self, index: u64) {
        self.world().index = index;
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.serve(listener);
    }
}

type Parameters = Query<BTreeMap<String, String>>;

/// What happens before an answer: it is noted, it waits, a fault strikes.
async fn begin(
    (world, changed): &Shared,
    what: String,
    parameters: &BTreeMap<String, String>,
    headers: &HeaderMap,
) -> Option<Response> {
    let token = headers.get("x-nomad-token").and_then(|value| value.to_str().ok());
    let mut changes = changed.subscribe();
    let (index, fault, wants) = {
        let mut world = world.lock().unwrap();
        world.requests.push((what.clone(), token.map(str::to_owned)));
        (world.index, world.fault, world.token)
    };
    let text = |status: u16, text: &'static str| {
        Some((StatusCode::from_u16(status).unwrap(), text).into_response())
    };
    let sees_all = parameters.get("namespace").is_some_and(|namespace| namespace == "*");
    match fault {
        _ if wants.is_some() && wants != token => return text(403, "Permission denied"),
        Some(Fault::NoLeader) => return text(500, "No cluster leader"),
        Some(Fault::Denied) if !sees_all => return text(403, "Permission denied"),
        Some(Fault::DeniedRead(name))
            if [format!("service {name}"), format!("variable {name}")].contains(&what) =>
        {
            return text(403, "Permission denied");
        }
        Some(Fault::NoPath) if what.starts_with("checks") => {
            return text(404, "No path to node");
        }
        _ => {}
    }
    if parameters.get("index").is_some_and(|asked| asked.parse::<u64>().unwrap() >= index) {
        let wait = parameters.get("wait").unwrap().strip_suffix("ms").unwrap().parse().unwrap();
        drop(tokio::time::timeout(Duration::from_millis(wait), changes.changed()).await);
    }
    None
}

fn answer(world: &World, value: &Value) -> Response {
    let mut body = value.to_string();
    if world.fault == Some(Fault::Cut) {
        body.truncate(body.len() / 2);
    }
    let headers = [
        ("x-nomad-index", world.index.to_string()),
        ("x-nomad-knownleader", "true".to_owned()),
        ("content-type", "application/json".to_owned()),
    ];
    (headers, body).into_response()
}

fn is_in(asked: &BTreeMap<String, String>, namespace: &str) -> bool {
    let asked = asked.get("namespace").map_or("default", String::as_str);
    asked == "*" || asked == namespace
}

async fn services(
    State(shared): State<Shared>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Response {
    if let Some(fault) = begin(&shared, "services".to_owned(), &parameters, &headers).await {
        return fault;
    }
    let world = shared.0.lock().unwrap();
    let mut listed: BTreeMap<&str, BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    let sees_nothing = world.fault == Some(Fault::Denied);
    for one in world.instances.iter().filter(|one| is_in(&parameters, one.namespace)) {
        if sees_nothing {
            continue;
        }
        let services = listed.entry(one.namespace).or_default();
        services.entry(one.service).or_default().extend(one.tags.iter().copied());
    }
    let rows: Vec<Value> = listed
        .into_iter()
        .map(|(namespace, services)| {
            let services: Vec<Value> = services
                .into_iter()
                .map(|(name, tags)| json!({"ServiceName": name, "Tags": tags}))
                .collect();
            json!({"Namespace": namespace, "Services": services})
        })
        .collect();
    answer(&world, &json!(rows))
}

async fn service(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Response {
    if let Some(fault) = begin(&shared, format!("service {name}"), &parameters, &headers).await {
        return fault;
    }
    let world = shared.0.lock().unwrap();
    let turn = world.requests.len();
    let of_it = world.instances.iter().filter(|one| {
        // A read of one service knows no wildcard.
        one.service == name && parameters.get("namespace").is_some_and(|n| n == one.namespace)
    });
    let rows: Vec<Value> = of_it.map(|one| one.answered(turn)).collect();
    answer(&world, &json!(rows))
}

async fn checks(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Response {
    if let Some(fault) = begin(&shared, format!("checks {id}"), &parameters, &headers).await {
        return fault;
    }
    let world = shared.0.lock().unwrap();
    let Some(one) = world.instances.iter().find(|one| one.allocation == id) else {
        return (StatusCode::NOT_FOUND, "Unknown allocation").into_response();
    };
    let of_it = world.checks.iter().filter(|(allocation, _)| **allocation == id);
    let rows: BTreeMap<String, Value> = of_it
        .map(|(id, status)| {
            let check = json!({"Check": "alive", "Group": "g[0]", "ID": format!("c-{id}"),
                               "Mode": "healthiness", "Output": "", "Service": one.service,
                               "Status": status, "Task": "", "Timestamp": 1_660_000_000});
            (format!("c-{id}"), check)
        })
        .collect();
    // A host's answer has no index.
    axum::Json(json!(rows)).into_response()
}

/// A listing leaves out what a token may not see.
async fn variables(
    State(shared): State<Shared>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Response {
    let is_denied = shared.0.lock().unwrap().fault == Some(Fault::Denied);
    if !is_denied
        && let Some(fault) = begin(&shared, "variables".to_owned(), &parameters, &headers).await
    {
        return fault;
    }
    let world = shared.0.lock().unwrap();
    let rows = world.documents.iter().filter(|_| !is_denied).map(|(name, (index, _))| {
        json!({"Namespace": "default", "Path": format!("mesh/systems/{name}"),
               "CreateIndex": 1, "ModifyIndex": index, "CreateTime": 1, "ModifyTime": 1})
    });
    answer(&world, &json!(rows.collect::<Vec<_>>()))
}

async fn variable(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Response {
    if let Some(fault) = begin(&shared, format!("variable {name}"), &parameters, &headers).await {
        return fault;
    }
    let world = shared.0.lock().unwrap();
    match world.documents.get(name.as_str()) {
        None => (StatusCode::NOT_FOUND, "variable not found").into_response(),
        Some((index, text)) => {
            let items =
                if text.is_empty() { json!({"other": "x"}) } else { json!({"document": text}) };
            let path = format!("mesh/systems/{name}");
            let row =
                json!({"Namespace": "default", "Path": path, "ModifyIndex": index, "Items": items});
            answer(&world, &row)
        }
    }
}
