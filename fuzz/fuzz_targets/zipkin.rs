//! Any bytes as Zipkin's two forms: never a panic, and what comes out is OTLP that the agent's own reader takes.

#![no_main]

use host_agent::traces::otlp::{read, visit_spans};
use host_agent::traces::receive::zipkin;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for converted in [zipkin::from_json(bytes), zipkin::from_proto(bytes)].into_iter().flatten() {
        visit_spans(&converted.message, |span| {
            assert!(
                read(span).is_ok_and(|facts| facts.is_text),
                "the converted span cannot be read"
            );
        });
    }
});
