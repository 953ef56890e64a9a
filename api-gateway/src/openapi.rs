//! The OpenAPI 3.1 document of a System: what its gateway offers as REST.
//!
//! In: the routes that convert, as the control plane describes them, the newest version of each schema, and how answers
//! are written. Out: one document. Called by the pages, once for each change of a schema.
//!
//! The document is built from plain JSON values: models of OpenAPI in Rust know the keywords of OpenAPI 3.0, and the
//! canonical JSON of protobuf needs those of JSON Schema 2020-12, such as `dependentSchemas` and `propertyNames`.
//! A test compares the outcome with the official schema of OpenAPI 3.1.
//!
//! **Invariants**: same input, same bytes; what cannot be described is named in the document. **Absent**: time, IO.

mod comments;
mod message;
mod operation;
mod path;
mod query;
mod scalar;

use std::collections::BTreeMap;

use contract::gateway::GatewayRoutes;
pub use contract::gateway::{AuthWay, RestRoute};
use serde_json::{Map, Value, json};

use crate::schema::{Entry, Snapshot};
use crate::transcode::{Api, Binding, JsonOptions};
use comments::Comments;
use message::{Messages, error_components};
use operation::{Operation, error_responses};
use path::Paths;

/// A System as its document says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Described {
    /// Its name.
    pub system: String,
    /// Where clients reach it, such as `https://trading.example.com` or `/trading`; the first is the default.
    pub servers: Vec<String>,
    /// The named ways to prove who calls.
    pub ways: BTreeMap<String, AuthWay>,
    /// Its routes that convert, in the order in which they are matched.
    pub routes: Vec<RestRoute>,
}

impl From<&GatewayRoutes> for Described {
    fn from(routes: &GatewayRoutes) -> Self {
        Self {
            system: routes.system.to_string(),
            servers: routes.servers.clone(),
            ways: routes.ways.clone(),
            routes: routes.rest.clone(),
        }
    }
}

/// The document, as JSON.
pub fn document(described: &Described, schemas: &Snapshot, json: JsonOptions) -> Value {
    let mut draft = Draft { json, components: error_components(), ..Draft::default() };
    for route in &described.routes {
        let text = route.conversion.to_string();
        match schemas.get(&text).and_then(|entry| newest(entry)) {
            Some((id, api)) => {
                draft.versions.push(id);
                draft.describe(route, api);
            }
            None => draft.missing.push(format!("`{text}`: its schema is not known yet")),
        }
    }
    draft.finish(described)
}

fn newest(entry: &Entry) -> Option<(String, &Api)> {
    entry.versions.first().map(|version| (version.id.to_string(), version.api.as_ref()))
}

/// The document while routes are added.
#[derive(Default)]
struct Draft {
    json: JsonOptions,
    versions: Vec<String>,
    missing: Vec<String>,
    paths: Paths,
    tags: BTreeMap<String, Option<String>>,
    components: BTreeMap<String, Value>,
    operations: BTreeMap<String, usize>,
}

impl Draft {
    fn describe(&mut self, route: &RestRoute, api: &Api) {
        let comments = Comments::of(api.pool());
        let (components, operations) = self.compatible(route, api, &comments);
        self.components.extend(components);
        for (binding, operation) in operations {
            let service = binding.rpc.parent_service();
            let comment = comments.of_service(service);
            self.tags.insert(service.full_name().to_owned(), comment);
            let described = self.paths.insert(route, binding, |names| {
                let id = self.operations.entry(binding.rpc.full_name().to_owned()).or_default();
                *id += 1;
                operation.finish(names, *id)
            });
            if let Err(why) = described {
                let (method, template) = (&binding.method, &binding.template);
                let name = binding.rpc.full_name();
                self.missing.push(format!("`{method} {template}` ({name}): {why}"));
            }
        }
    }

    /// The operations of an API, with component names that mean the same to all APIs of the document: two services may
    /// have different messages of one name.
    fn compatible<'a>(
        &self,
        route: &RestRoute,
        api: &'a Api,
        comments: &Comments,
    ) -> (BTreeMap<String, Value>, Vec<(&'a Binding, Operation)>) {
        let service = route.conversion.service.as_str();
        let mut prefix = String::new();
        let mut attempt = 1;
        loop {
            let mut messages = Messages::new(&prefix, comments, self.json);
            let bindings = api.bindings().iter().filter(|one| path::is_reachable(route, one));
            let operations = bindings
                .map(|binding| (binding, Operation::new(binding, route, &mut messages)))
                .collect();
            messages.complete();
            let differs = |(name, value): (&String, &Value)| {
                self.components.get(name).is_some_and(|known| known != value)
            };
            if !messages.components().iter().any(differs) {
                return (messages.into_components(), operations);
            }
            prefix =
                if attempt == 1 { format!("{service}.") } else { format!("{service}-{attempt}.") };
            attempt += 1;
        }
    }

    fn finish(mut self, described: &Described) -> Value {
        let mut description = format!(
            "What the gateway of {} offers as REST. Requests become gRPC calls; their answers are JSON as protobuf maps it.",
            described.system
        );
        if !self.missing.is_empty() {
            description += "\n\nNot described here:\n\n- ";
            description += &self.missing.join("\n- ");
        }
        self.versions.sort();
        self.versions.dedup();
        let tags = self.tags.into_iter().map(|(name, comment)| {
            let mut tag = Map::from_iter([("name".to_owned(), Value::from(name))]);
            tag.extend(comment.map(|comment| ("description".to_owned(), Value::from(comment))));
            Value::Object(tag)
        });
        let ways = described.ways.iter().map(|(name, way)| (name.clone(), scheme(way)));
        let mut document = json!({
            "openapi": "3.1.0",
            "info": {
                "title": described.system,
                "description": description,
                "version": match self.versions.as_slice() {
                    [] => "none".to_owned(),
                    versions => versions.join("-"),
                },
            },
            "paths": self.paths.finish(),
            "tags": tags.collect::<Vec<_>>(),
            "components": {
                "schemas": self.components,
                "responses": error_responses(),
                "securitySchemes": ways.collect::<Map<_, _>>(),
            },
        });
        if let (Some(document), false) = (document.as_object_mut(), described.servers.is_empty()) {
            let servers = described.servers.iter().map(|url| json!({"url": url}));
            document.insert("servers".to_owned(), servers.collect());
        }
        document
    }
}

fn scheme(way: &AuthWay) -> Value {
    match way {
        AuthWay::Bearer => json!({"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}),
        AuthWay::ApiKey { header } => json!({"type": "apiKey", "in": "header", "name": header}),
    }
}
