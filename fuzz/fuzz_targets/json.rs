//! Any bytes are a message or an error; a message survives its own JSON and its own encoding.
#![no_main]

use api_gateway::transcode::{JsonOptions, from_json, to_json};
use fuzz::API;
use libfuzzer_sys::fuzz_target;
use prost::Message;
use prost_reflect::DynamicMessage;

fuzz_target!(|data: &[u8]| {
    let kinds = API.pool().get_message_by_name("echo.v1.Kinds").expect("the test schema's message");
    let options = JsonOptions::default();
    // Some messages have no JSON: an unknown mask, a NaN inside a Value.
    if let Ok(message) = from_json(&kinds, data, 100)
        && let Ok(json) = to_json(&message, &options)
    {
        let again = from_json(&kinds, &json, 200).expect("what was written is read");
        assert_eq!(to_json(&again, &options).expect("and written again"), json);
        // Values inside each other take three levels of messages each, and decoders stop at 100.
        if let Ok(decoded) =
            DynamicMessage::decode(kinds.clone(), message.encode_to_vec().as_slice())
        {
            assert_eq!(to_json(&decoded, &options).expect("and written after decoding"), json);
        }
    }
    // A service may send anything.
    if let Ok(message) = DynamicMessage::decode(kinds, data) {
        let emit_defaults = JsonOptions { emit_defaults: true, ..JsonOptions::default() };
        // That there is no JSON for it is an answer too.
        drop((to_json(&message, &options), to_json(&message, &emit_defaults)));
    }
});
