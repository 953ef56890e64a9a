//! Any path, query and method find a binding and make a message, or an error.
#![no_main]

use api_gateway::transcode::{JsonOptions, Limits, Parts, PathTemplate, bind, to_json};
use bytes::Bytes;
use fuzz::API;
use http::Method;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(template) = text.parse::<PathTemplate>() {
        assert_eq!(template.to_string(), text);
    }
    let (path, query) =
        text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    let parts = Parts { query, content_type: None, body: &Bytes::new() };
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let Ok(found) = API.find(&method, path) else { continue };
        assert_eq!(found.captured.len(), found.binding.captures.len());
        match bind(&found, parts, &Limits::default()) {
            // A mask may have no JSON.
            Ok(message) => drop(to_json(&message, &JsonOptions::default())),
            Err(refusal) => assert!(!refusal.to_string().is_empty()),
        }
    }
});
