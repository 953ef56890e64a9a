//! `/v1/status`, `/v1/agent` and what else says who answers.

use axum::extract::State as Shared;
use axum::response::Response;
use serde_json::{Value, json};

use super::{App, json as answer};

/// The version whose API this is.
pub(crate) const VERSION: &str = "2.0.5";

pub(super) async fn leader(Shared(api): App) -> Response {
    answer(1, &rpc(&api))
}

pub(super) async fn peers(Shared(api): App) -> Response {
    answer(1, &[rpc(&api)])
}

fn rpc(api: &super::Api) -> String {
    format!("{}:4647", api.settings.http.ip())
}

pub(super) async fn own(Shared(api): App) -> Response {
    let settings = &api.settings;
    let state = api.store.read();
    let node = state.nodes.values().find(|node| node.name == settings.node_name);
    answer(
        1,
        &json!({
            "config": {
                "Region": settings.region, "Datacenter": settings.datacenter, "NodeName": settings.node_name,
                "Version": {"Version": VERSION, "VersionMetadata": "stand-in", "VersionPrerelease": "", "Revision": ""},
                "DevMode": settings.is_dev, "ACL": {"Enabled": !settings.tokens.is_empty()},
                "Ports": {"HTTP": settings.http.port()},
            },
            "member": member(&api),
            "stats": {
            "nomad": {"leader": "true", "server": "true"}, "client": {"node_id": node.map(|node| &node.id)},
        },
        }),
    )
}

pub(super) async fn members(Shared(api): App) -> Response {
    let settings = &api.settings;
    answer(
        1,
        &json!({
            "ServerName": settings.node_name, "ServerRegion": settings.region, "ServerDC": settings.datacenter,
            "Members": [member(&api)],
        }),
    )
}

fn member(api: &super::Api) -> Value {
    let settings = &api.settings;
    json!({
        "Name": format!("{}.{}", settings.node_name, settings.region), "Addr": settings.http.ip(), "Port": 4648,
        "Status": "alive", "Tags": {"role": "nomad", "region": settings.region, "dc": settings.datacenter, "build": VERSION},
    })
}

pub(super) async fn health() -> Response {
    answer(
        1,
        &json!({"client": {"ok": true, "message": "ok"}, "server": {"ok": true, "message": "ok"}}),
    )
}

pub(super) async fn regions(Shared(api): App) -> Response {
    answer(1, &[&api.settings.region])
}

pub(super) async fn namespaces() -> Response {
    answer(
        1,
        &json!([{"Name": "default", "Description": "Default shared namespace", "CreateIndex": 1, "ModifyIndex": 1}]),
    )
}

/// Forgets what is over: allocations and evaluations of jobs that are dead or gone.
pub(super) async fn collect(Shared(api): App) -> Response {
    api.store.change(|state, _, _| state.collect());
    answer(1, &json!({}))
}
