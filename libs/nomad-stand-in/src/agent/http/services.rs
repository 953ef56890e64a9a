//! Nomad's own services: `/v1/services` and `/v1/service/NAME`.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Path, State as Shared};
use axum::response::Response;
use serde_json::{Value, json};

use super::{App, Ask, Refused, Written, json as answer, value};
use crate::agent::state::Table;

pub(super) async fn list(ask: Ask) -> Response {
    ask.list(Table::Services, |state| {
        let mut namespaces: BTreeMap<&str, BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
        for service in state.services.values() {
            let names = namespaces.entry(&service.namespace).or_default();
            names
                .entry(&service.service_name)
                .or_default()
                .extend(service.tags.iter().map(String::as_str));
        }
        namespaces
            .into_iter()
            .map(|(namespace, names)| {
                let services: Vec<Value> = names
                    .into_iter()
                    .map(|(name, tags)| json!({"ServiceName": name, "Tags": tags}))
                    .collect();
                json!({"Namespace": namespace, "Services": services})
            })
            .collect()
    })
    .await
}

pub(super) async fn read(ask: Ask, Path(name): Path<String>) -> Response {
    ask.list(Table::Services, |state| {
        let its = state.services.values().filter(|service| service.service_name == name);
        its.map(value).collect()
    })
    .await
}

pub(super) async fn remove(Shared(api): App, Path((name, id)): Path<(String, String)>) -> Written {
    api.store.change(|state, _, _| {
        if state.services.get(&id).is_none_or(|service| service.service_name != name) {
            return Err(Refused::unknown("service registration", 1));
        }
        state.remove_services(|service| service.id == id);
        Ok(())
    })?;
    Ok(answer(1, &json!({})))
}
