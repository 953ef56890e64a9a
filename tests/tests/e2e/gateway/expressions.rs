//! What documents may say as an expression or a template, every Envoy takes.

use contract::system::{Pattern, Template};
use lab::parts;
use lab::process::{self, Program};
use serde_json::json;

use crate::scene::folder;

/// Expressions that grow with a number.
const FAMILIES: [fn(usize) -> String; 10] = [
    |size| format!("/{}", "a".repeat(size)),
    |size| format!("/[a-z]{{{size}}}"),
    |size| format!("/[^/]{{{size}}}"),
    |size| format!("/.{{{size}}}"),
    |size| format!("(/[^/]+){{{size}}}"),
    |size| format!("/(ab?|c+d|[e-g]*){{{size}}}"),
    |size| format!(r"/(\d|\w-){{0,{size}}}"),
    |size| format!("/({})", vec!["one"; size].join("|")),
    |size| format!(r"/\S{{1,{size}}}x"),
    |size| format!("(/[[:alpha:]_]+[^a-c]?){{{size}}}"),
];

#[tokio::test]
async fn the_largest_expressions_of_documents_are_taken_by_every_envoy() {
    let test = "the_largest_expressions_of_documents_are_taken_by_every_envoy";
    let Some(versions) = parts::envoy_versions_or_skip(test) else { return };
    let largest = FAMILIES.map(|family| {
        let taken = (1..200).map(family).take_while(|regex| Pattern::parse(regex).is_ok());
        taken.last().unwrap()
    });
    let templates = ["/{a}/{b}/{c}/{d}/{e=**}", "/a.b/-_~:@!$&'+,/{rest=**}"];
    let written = templates.map(|template| template.parse::<Template>().unwrap().to_regex());
    let expressions: Vec<String> = largest.into_iter().chain(written).collect();
    let answer = json!({"status": 200});
    let by_regex = expressions
        .iter()
        .map(|regex| json!({"match": {"safe_regex": {"regex": regex}}, "direct_response": answer}));
    let by_template = templates.iter().map(|template| {
        let config = json!({
            "@type": "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig",
            "path_template": template,
        });
        let policy = json!({"name": "template", "typed_config": config});
        json!({"match": {"path_match_policy": policy}, "direct_response": answer})
    });
    let routes: Vec<_> = by_regex.chain(by_template).collect();
    let dir = folder();
    let file = dir.path().join("expressions.json");
    std::fs::write(&file, bootstrap(&routes).to_string()).unwrap();
    for (version, envoy) in versions {
        let validate = Program::new(format!("envoy-{version}"), &envoy)
            .args(["--mode", "validate", "--config-path"])
            .args([file.display().to_string()]);
        if let Err(error) = process::run(&validate).await {
            panic!("Envoy {version} refuses one of {expressions:#?}: {}", lab::chain(&error));
        }
    }
}

fn bootstrap(routes: &[serde_json::Value]) -> serde_json::Value {
    let router =
        json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"});
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "all",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "router", "typed_config": router}],
    });
    json!({"static_resources": {"listeners": [{
        "name": "all",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }]}})
}
