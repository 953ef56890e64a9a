//! Access logs: one JSON object a request or connection, on stdout, where the host's log agent finds it.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::accesslog::v3::{AccessLog, access_log::ConfigType};
use envoy_types::pb::envoy::extensions::access_loggers::stream::v3::StdoutAccessLog;
use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};

/// Fields of an HTTP request, in Envoy's command language.
const HTTP: [(&str, &str); 20] = [
    ("time", "%START_TIME%"),
    ("listener", "%CUSTOM_LISTENER%"),
    ("method", "%REQ(:METHOD)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("status", "%RESPONSE_CODE%"),
    ("grpc_status", "%GRPC_STATUS%"),
    ("flags", "%RESPONSE_FLAGS%"),
    ("details", "%RESPONSE_CODE_DETAILS%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration_ms", "%DURATION%"),
    ("attempts", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
    ("upstream", "%UPSTREAM_HOST%"),
    ("cluster", "%UPSTREAM_CLUSTER%"),
    ("client", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("caller_system", "%REQ(X-MESH-CALLER-SYSTEM)%"),
    ("caller_service", "%REQ(X-MESH-CALLER-SERVICE)%"),
];

/// Fields of a TCP connection.
const TCP: [(&str, &str); 9] = [
    ("time", "%START_TIME%"),
    ("listener", "%CUSTOM_LISTENER%"),
    ("flags", "%RESPONSE_FLAGS%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration_ms", "%DURATION%"),
    ("upstream", "%UPSTREAM_HOST%"),
    ("cluster", "%UPSTREAM_CLUSTER%"),
    ("client", "%DOWNSTREAM_REMOTE_ADDRESS%"),
];

/// The access log of an HTTP listener.
pub fn http(listener: &str) -> Vec<AccessLog> {
    stdout(&HTTP, listener)
}

/// The access log of a TCP listener.
pub fn tcp(listener: &str) -> Vec<AccessLog> {
    stdout(&TCP, listener)
}

fn stdout(fields: &[(&str, &str)], listener: &str) -> Vec<AccessLog> {
    let fields = fields
        .iter()
        .map(|(name, command)| {
            let command = if *command == "%CUSTOM_LISTENER%" { listener } else { command };
            ((*name).to_owned(), OrderedValue { string_value: Some(command.to_owned()) })
        })
        .collect();
    let log = OrderedLog {
        log_format: Some(OrderedFormat { json_format: Some(OrderedStruct { fields }) }),
    };
    vec![AccessLog {
        name: "stdout".to_owned(),
        filter: None,
        config_type: Some(ConfigType::TypedConfig(Any {
            type_url: StdoutAccessLog::type_url(),
            value: log.encode_to_vec(),
        })),
    }]
}

/// `StdoutAccessLog` with an ordered map: envoy-types' `Struct` is a hash map, whose bytes differ from run to run.
#[derive(Clone, PartialEq, Message)]
struct OrderedLog {
    #[prost(message, optional, tag = "1")]
    log_format: Option<OrderedFormat>,
}

/// `SubstitutionFormatString`, the JSON form.
#[derive(Clone, PartialEq, Message)]
struct OrderedFormat {
    #[prost(message, optional, tag = "2")]
    json_format: Option<OrderedStruct>,
}

/// `google.protobuf.Struct`.
#[derive(Clone, PartialEq, Message)]
struct OrderedStruct {
    #[prost(btree_map = "string, message", tag = "1")]
    fields: BTreeMap<String, OrderedValue>,
}

/// `google.protobuf.Value`, the string form.
#[derive(Clone, PartialEq, Message)]
struct OrderedValue {
    #[prost(string, optional, tag = "3")]
    string_value: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use envoy_types::pb::envoy::config::core::v3::substitution_format_string::Format;
    use envoy_types::pb::envoy::extensions::access_loggers::stream::v3::stdout_access_log::AccessLogFormat;
    use envoy_types::pb::google::protobuf::value::Kind;

    #[test]
    fn the_ordered_messages_are_envoy_s_on_the_wire() {
        let Some(ConfigType::TypedConfig(any)) = http("egress").remove(0).config_type else {
            panic!()
        };
        let log = StdoutAccessLog::decode(any.value.as_slice()).unwrap();
        let Some(AccessLogFormat::LogFormat(format)) = log.access_log_format else { panic!() };
        let Some(Format::JsonFormat(fields)) = format.format else { panic!() };
        assert_eq!(fields.fields.len(), HTTP.len());
        assert_eq!(fields.fields["listener"].kind, Some(Kind::StringValue("egress".into())));
        assert_eq!(fields.fields["status"].kind, Some(Kind::StringValue("%RESPONSE_CODE%".into())));
    }
}
