//! The OpenAPI document: as expected, as the official schema demands, as canonical JSON is.
//!
//! `UPDATE_GOLDEN=1` rewrites the expectation; read the difference before you commit it.

use std::collections::BTreeSet;
use std::path::Path;

use api_gateway::openapi::{AuthWay, Described, RestRoute, document};
use api_gateway::schema::Snapshot;
use api_gateway::transcode::JsonOptions;
use lab::parts::real_part_or_skip;
use serde_json::{Value, json};

use crate::harness::{
    Gateway, QUOTES, Service, compile, conversion, patient, quotes, soon, with_v1,
};

const EVERYTHING: &str = "everything everything.v1.Everything everything.binpb";

fn route(conversion_text: &str, prefix: &str, auth: &[&str]) -> RestRoute {
    RestRoute {
        conversion: conversion(conversion_text),
        prefix: prefix.to_owned(),
        rewrite: None,
        auth: auth.iter().map(|way| (*way).to_owned()).collect(),
    }
}

/// A gateway whose folder has the schema of everything.
async fn everything() -> (tempfile::TempDir, Gateway) {
    let folder = tempfile::tempdir().unwrap();
    let set = compile("one", "everything.proto");
    std::fs::write(folder.path().join("everything.binpb"), set).unwrap();
    let gateway = Gateway::with_folder(folder.path(), patient());
    soon("the schema", gateway.schemas.apis(EVERYTHING)).await.unwrap();
    (folder, gateway)
}

fn trading() -> Described {
    Described {
        system: "trading".to_owned(),
        servers: vec!["https://trading.example.com".to_owned(), "/trading".to_owned()],
        ways: [
            ("customers".to_owned(), AuthWay::Bearer),
            ("partners".to_owned(), AuthWay::ApiKey { header: "x-api-key".to_owned() }),
        ]
        .into(),
        routes: vec![route(EVERYTHING, "/", &["customers", "partners"])],
    }
}

/// The document of everything.
async fn described() -> Value {
    let (_folder, gateway) = everything().await;
    document(&trading(), &gateway.schemas.snapshot(), JsonOptions::default())
}

#[tokio::test]
async fn the_document_of_everything_is_as_expected() {
    let document = described().await;
    let text = serde_json::to_string_pretty(&document).unwrap() + "\n";
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schema/golden/everything.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap();
    assert!(text == expected, "UPDATE_GOLDEN=1 rewrites {}:\n{text}", golden.display());
    assert_eq!(document, described().await);
}

#[tokio::test]
async fn the_document_is_what_the_schema_of_openapi_demands() {
    let test = "the_document_is_what_the_schema_of_openapi_demands";
    let Some(schema) = real_part_or_skip(test, "openapi") else { return };
    let schema = serde_json::from_str(&std::fs::read_to_string(schema).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let document = described().await;
    let problems: Vec<String> = validator
        .iter_errors(&document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(problems, Vec::<String>::new());
    // The judge judges.
    assert!(!validator.is_valid(&json!({"openapi": "3.1.0", "paths": {}})));
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_every_parameter_stands_in_its_path() {
    let document = described().await;
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 20, "{references:?}");
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            assert!(ids.insert(id.clone()), "{id} twice");
            let parameters = operation["parameters"].as_array();
            let in_path: BTreeSet<String> = parameters
                .into_iter()
                .flatten()
                .filter(|one| one["in"] == "path")
                .map(|one| format!("{{{}}}", one["name"].as_str().unwrap()))
                .collect();
            let named: BTreeSet<String> = path
                .split_inclusive('}')
                .filter_map(|part| part.rsplit_once('{').map(|(_, name)| format!("{{{name}")))
                .collect();
            assert_eq!(in_path, named, "{method} {path}");
        }
    }
}

fn collect_references(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
                into.push(reference.to_owned());
            }
            object.values().for_each(|inside| collect_references(inside, into));
        }
        Value::Array(list) => list.iter().for_each(|inside| collect_references(inside, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A validator for the component `everything.v1.Kinds`.
async fn kinds() -> jsonschema::Validator {
    let mut document = described().await;
    document["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    document["$ref"] = json!("#/components/schemas/everything.v1.Kinds");
    assert!(jsonschema::meta::is_valid(&document));
    for (name, component) in document["components"]["schemas"].as_object().unwrap() {
        assert!(jsonschema::meta::is_valid(component), "{name}");
    }
    jsonschema::options().should_validate_formats(true).build(&document).unwrap()
}

#[tokio::test]
async fn canonical_json_of_every_kind_fits_the_schema_of_its_message() {
    let kinds = kinds().await;
    let all = json!({
        "aDouble": 1.5, "aFloat": "-Infinity", "anInt32": -7, "anInt64": "-9223372036854775808",
        "aUint32": 4_294_967_295_u32, "aUint64": "18446744073709551615", "aBool": true, "aString": "é",
        "someBytes": "AAEC", "colour": "COLOUR_RED", "trees": [{"label": "a", "children": [{}]}],
        "byName": {"x": {"parent": {"parent": {}}}}, "byNumber": {"-1": "COLOUR_BLUE"},
        "byTruth": {"true": "AA=="}, "text": "one", "perhaps": "", "newName": "n",
        "at": "2026-11-22T21:11:46.123Z", "within": "-1.500s", "mask": "aDouble,byName",
        "object": {"a": [1, null]}, "anyValue": [null], "list": [1, "b"], "nothing": null,
        "any": {"@type": "type.googleapis.com/everything.v1.Tree", "label": "a"},
        "wrappedNumber": "7", "wrappedDouble": null, "wrappedBytes": null,
        "raw": {"contentType": "text/plain", "data": "AA=="},
    });
    let problems: Vec<String> = kinds.iter_errors(&all).map(|error| error.to_string()).collect();
    assert_eq!(problems, Vec::<String>::new());
}

#[tokio::test]
async fn what_the_gateway_would_refuse_does_not_fit_the_schema() {
    let kinds = kinds().await;
    for wrong in [
        json!({"unknown": 1}),
        json!({"an_int32": 1}),
        json!({"anInt32": "x"}),
        json!({"anInt64": "1.5"}),
        json!({"aUint64": "-1"}),
        json!({"aDouble": "nan"}),
        json!({"colour": "RED"}),
        json!({"byNumber": {"a": "COLOUR_RED"}}),
        json!({"byTruth": {"yes": ""}}),
        json!({"text": "one", "number": "2"}),
        json!({"trees": {}}),
        json!({"within": "1m"}),
        json!({"at": "yesterday"}),
        json!({"any": {"label": "a"}}),
        json!({"trees": [{"children": [{"label": 1}]}]}),
    ] {
        assert!(!kinds.is_valid(&wrong), "{wrong}");
    }
}

#[tokio::test]
async fn the_document_describes_json_as_the_options_have_it_written() {
    let (_folder, gateway) = everything().await;
    let options =
        JsonOptions { preserve_names: true, enums_as_numbers: true, ..JsonOptions::default() };
    let document = document(&trading(), &gateway.schemas.snapshot(), options);
    let schemas = &document["components"]["schemas"];
    let kinds = &schemas["everything.v1.Kinds"];
    assert_eq!(kinds["properties"]["an_int32"]["type"], "integer");
    assert_eq!(kinds["properties"]["anInt32"], Value::Null);
    assert_eq!(kinds["dependentSchemas"]["text"]["properties"]["number"], false);
    let colour = json!({"type": "integer", "format": "int32"});
    assert_eq!(schemas["everything.v1.Colour"], colour);
}

#[tokio::test]
async fn routes_show_what_they_let_through_under_the_paths_that_clients_use() {
    let service = Service::start(vec![with_v1(&quotes("two"))]).await;
    let gateway = Gateway::start(service.egress.clone(), patient());
    soon("the schema", gateway.schemas.apis(QUOTES)).await.unwrap();
    let paths = |prefix: &str, rewrite: Option<&str>| {
        let mut described = Described { system: "trading".to_owned(), ..Described::default() };
        let mut route = route(QUOTES, prefix, &[]);
        route.rewrite = rewrite.map(str::to_owned);
        described.routes.push(route);
        let document = document(&described, &gateway.schemas.snapshot(), JsonOptions::default());
        document["paths"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(paths("/v1", None), ["/v1/quotes", "/v1/quotes/{symbol}"]);
    assert_eq!(paths("/v1/quotes/", None), ["/v1/quotes/{symbol}"]);
    assert_eq!(paths("/v2", None), Vec::<String>::new());
    assert_eq!(paths("/api", Some("/v1")), ["/api/quotes", "/api/quotes/{symbol}"]);
    assert_eq!(paths("/api", Some("/")), ["/api/v1/quotes", "/api/v1/quotes/{symbol}"]);
}

#[tokio::test]
async fn what_cannot_be_described_is_named_in_the_document() {
    let document = document(&trading(), &Snapshot::default(), JsonOptions::default());
    let description = document["info"]["description"].as_str().unwrap();
    let expected = format!("- `{EVERYTHING}`: its schema is not known yet");
    assert!(description.ends_with(&expected), "{description}");
    let described = described().await;
    let description = described["info"]["description"].as_str().unwrap();
    let expected =
        "- `SEARCH /v1/trees` (everything.v1.Everything.Search): OpenAPI has no such method";
    assert!(description.ends_with(expected), "{description}");
}

#[tokio::test]
async fn messages_of_one_name_and_two_shapes_are_described_under_two_names() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("one"), quotes("one")).unwrap();
    std::fs::write(folder.path().join("two"), quotes("two")).unwrap();
    let gateway = Gateway::with_folder(folder.path(), patient());
    let texts = ["old quotes.v1.Quotes one", "new quotes.v1.Quotes two"];
    let mut described = Described { system: "trading".to_owned(), ..Described::default() };
    for text in texts {
        soon("the schema", gateway.schemas.apis(text)).await.unwrap();
        described.routes.push(route(text, "/v1", &[]));
    }
    let document = document(&described, &gateway.schemas.snapshot(), JsonOptions::default());
    let names: Vec<&String> =
        document["components"]["schemas"].as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        [
            "Error",
            "google.protobuf.Any",
            "google.protobuf.Timestamp",
            "new.quotes.v1.ListResponse",
            "new.quotes.v1.Money",
            "new.quotes.v1.Quote",
            "quotes.v1.Money",
            "quotes.v1.Quote",
        ]
    );
}
