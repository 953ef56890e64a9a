//! No resource of any case uses what Envoy's own descriptors call deprecated: a field, a message or a value of an enum.
//!
//! The descriptors are those that `envoy-types` was generated from: a file among its sources.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use control_plane::xds::resources::ResourceType;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value,
};

use crate::{build, cases, events, proxies, resources};

fn descriptors() -> DescriptorPool {
    use serde_json::Value;

    // Only packages of this platform are sure to be on this machine.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--offline", "--locked"])
        .args(["--filter-platform", &platform])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata.get("packages").and_then(Value::as_array).unwrap();
    let is_it = |package: &&Value| package.get("name").is_some_and(|name| name == "envoy-types");
    let manifest = packages.iter().find(is_it).and_then(|package| package.get("manifest_path"));
    let manifest = PathBuf::from(manifest.and_then(Value::as_str).unwrap());
    let file = manifest.with_file_name("src/generated/types.bin");
    let bytes = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()));
    DescriptorPool::decode(bytes.unwrap().as_slice()).unwrap()
}

/// What a walk through a message met.
#[derive(Default)]
struct Seen {
    messages: BTreeSet<String>,
    deprecated: BTreeSet<String>,
}

impl Seen {
    fn message(&mut self, message: &DynamicMessage) {
        let kind = message.descriptor();
        self.messages.insert(kind.full_name().to_owned());
        if is_deprecated(&kind) {
            self.deprecated.insert(kind.full_name().to_owned());
        }
        if kind.full_name() == "google.protobuf.Any" {
            return self.message(&packed(&kind, message));
        }
        for (field, value) in message.fields() {
            let options = &field.field_descriptor_proto().options;
            if options.as_ref().is_some_and(|options| options.deprecated()) {
                self.deprecated.insert(field.full_name().to_owned());
            }
            self.value(&field, value);
        }
    }

    fn value(&mut self, field: &FieldDescriptor, value: &Value) {
        match (value, field.kind()) {
            (Value::Message(message), _) => self.message(message),
            (Value::List(values), _) => values.iter().for_each(|value| self.value(field, value)),
            (Value::Map(entries), _) => entries.values().for_each(|value| self.value(field, value)),
            (Value::EnumNumber(number), Kind::Enum(kind)) => {
                let value = kind.get_value(*number).unwrap();
                let options = &value.enum_value_descriptor_proto().options;
                if options.as_ref().is_some_and(|options| options.deprecated()) {
                    self.deprecated.insert(value.full_name().to_owned());
                }
            }
            _ => {}
        }
    }
}

fn is_deprecated(kind: &MessageDescriptor) -> bool {
    kind.descriptor_proto().options.as_ref().is_some_and(|options| options.deprecated())
}

/// What an `Any` holds.
fn packed(any: &MessageDescriptor, message: &DynamicMessage) -> DynamicMessage {
    let text = message.get_field_by_name("type_url").unwrap();
    let url = text.as_str().unwrap();
    let name = url.strip_prefix("type.googleapis.com/").unwrap();
    let kind = any.parent_pool().get_message_by_name(name);
    let kind = kind.ok_or_else(|| format!("{name} is unknown")).unwrap();
    let value = message.get_field_by_name("value").unwrap();
    DynamicMessage::decode(kind, value.as_bytes().unwrap().clone()).unwrap()
}

#[tokio::test]
async fn no_resource_has_a_deprecated_field_or_value() {
    let pool = descriptors();
    let any = pool.get_message_by_name("google.protobuf.Any").unwrap();
    let mut seen = Seen::default();
    for case in cases() {
        let model = build(events(&case).await);
        for proxy in proxies(&case) {
            let set = resources(&model, &proxy);
            for resource in
                ResourceType::ALL.into_iter().flat_map(|kind| set.of(kind).resources.values())
            {
                seen.message(&DynamicMessage::decode(any.clone(), resource.any.clone()).unwrap());
            }
        }
    }
    assert_eq!(seen.deprecated, BTreeSet::new());
    // The cases would prove little without these.
    for part in [
        "envoy.config.endpoint.v3.ClusterLoadAssignment",
        "envoy.config.cluster.v3.OutlierDetection",
        "envoy.config.route.v3.RetryPolicy",
        "envoy.config.listener.v3.ApiListener",
        "envoy.config.route.v3.WeightedCluster",
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
        "envoy.extensions.clusters.dns.v3.DnsCluster",
        "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute",
        "envoy.extensions.filters.http.jwt_authn.v3.JwtProvider",
        "envoy.extensions.filters.http.jwt_authn.v3.RemoteJwks",
        "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        "envoy.extensions.filters.http.rbac.v3.RBACPerRoute",
        "envoy.extensions.filters.http.router.v3.Router",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    ] {
        assert!(seen.messages.contains(part), "no case has {part}: {:?}", seen.messages);
    }
}

#[test]
fn a_deprecated_field_is_found_however_deep_it_lies() {
    let pool = descriptors();
    let message = |name: &str| DynamicMessage::new(pool.get_message_by_name(name).unwrap());
    let mut matcher = message("envoy.config.route.v3.HeaderMatcher");
    matcher.set_field_by_name("exact_match", Value::String("x".to_owned()));
    let mut matches = message("envoy.config.route.v3.RouteMatch");
    matches.set_field_by_name("headers", Value::List(vec![Value::Message(matcher)]));
    let mut any = message("google.protobuf.Any");
    let url = "type.googleapis.com/envoy.config.route.v3.RouteMatch";
    any.set_field_by_name("type_url", Value::String(url.to_owned()));
    let bytes = prost::Message::encode_to_vec(&matches);
    any.set_field_by_name("value", Value::Bytes(bytes.into()));
    let mut seen = Seen::default();
    seen.message(&any);
    let exact = "envoy.config.route.v3.HeaderMatcher.exact_match".to_owned();
    assert_eq!(seen.deprecated, BTreeSet::from([exact]));
}
