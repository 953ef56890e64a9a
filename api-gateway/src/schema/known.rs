//! Files that services import and sometimes do not hand out, known here.
//!
//! In: the name of an imported file. Out: its encoded descriptor. Protobuf's own files come from the descriptor library;
//! those of `google/api` that conversion reads are written down here; those that only declare options, which conversion
//! does not read, are empty files, and the options stay what they are then: fields that nobody knows.

use bytes::Bytes;
use prost::Message as _;
use prost_reflect::DescriptorPool;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, OneofDescriptorProto,
};

/// Declares the option `google.api.http`.
const ANNOTATIONS: &str = "google/api/annotations.proto";
/// What that option holds.
const HTTP: &str = "google/api/http.proto";
/// A message that stands for a body of any type.
const HTTP_BODY: &str = "google/api/httpbody.proto";

/// Files whose only use in services is options that do not matter to conversion.
const OPTIONS_ONLY: [&str; 10] = [
    "buf/validate/validate.proto",
    "gogoproto/gogo.proto",
    "google/api/client.proto",
    "google/api/field_behavior.proto",
    "google/api/field_info.proto",
    "google/api/resource.proto",
    "google/api/routing.proto",
    "google/api/visibility.proto",
    "protoc-gen-openapiv2/options/annotations.proto",
    "validate/validate.proto",
];

/// Whether this file need not be asked for.
pub(super) fn is_known(name: &str) -> bool {
    [ANNOTATIONS, HTTP, HTTP_BODY].contains(&name)
        || OPTIONS_ONLY.contains(&name)
        || (name.starts_with("google/protobuf/")
            && DescriptorPool::global().get_file_by_name(name).is_some())
}

/// The encoded descriptor of a known file, and what it imports.
pub(super) fn known_file(name: &str) -> Option<(Bytes, Vec<String>)> {
    let proto = match name {
        ANNOTATIONS => annotations(),
        HTTP => http(),
        HTTP_BODY => http_body(),
        name if OPTIONS_ONLY.contains(&name) => file(name, ""),
        name if name.starts_with("google/protobuf/") => {
            DescriptorPool::global().get_file_by_name(name)?.file_descriptor_proto().clone()
        }
        _ => return None,
    };
    Some((proto.encode_to_vec().into(), proto.dependency))
}

fn annotations() -> FileDescriptorProto {
    let extension = FieldDescriptorProto {
        extendee: Some(".google.protobuf.MethodOptions".to_owned()),
        ..message_field("http", 72_295_728, ".google.api.HttpRule")
    };
    FileDescriptorProto {
        dependency: vec![HTTP.to_owned(), "google/protobuf/descriptor.proto".to_owned()],
        extension: vec![extension],
        ..file(ANNOTATIONS, "google.api")
    }
}

fn http() -> FileDescriptorProto {
    let in_pattern = |field| FieldDescriptorProto { oneof_index: Some(0), ..field };
    let verbs = [("get", 2), ("put", 3), ("post", 4), ("delete", 5), ("patch", 6)];
    let verbs = verbs.map(|(verb, number)| in_pattern(field(verb, number, Type::String)));
    let rule = DescriptorProto {
        name: Some("HttpRule".to_owned()),
        field: [field("selector", 1, Type::String)]
            .into_iter()
            .chain(verbs)
            .chain([
                in_pattern(message_field("custom", 8, ".google.api.CustomHttpPattern")),
                field("body", 7, Type::String),
                field("response_body", 12, Type::String),
                repeated(message_field("additional_bindings", 11, ".google.api.HttpRule")),
            ])
            .collect(),
        oneof_decl: vec![OneofDescriptorProto {
            name: Some("pattern".to_owned()),
            ..OneofDescriptorProto::default()
        }],
        ..DescriptorProto::default()
    };
    let custom = message(
        "CustomHttpPattern",
        vec![field("kind", 1, Type::String), field("path", 2, Type::String)],
    );
    let rules = message(
        "Http",
        vec![
            repeated(message_field("rules", 1, ".google.api.HttpRule")),
            field("fully_decode_reserved_expansion", 2, Type::Bool),
        ],
    );
    FileDescriptorProto { message_type: vec![rules, rule, custom], ..file(HTTP, "google.api") }
}

fn http_body() -> FileDescriptorProto {
    let body = message(
        "HttpBody",
        vec![
            field("content_type", 1, Type::String),
            field("data", 2, Type::Bytes),
            repeated(message_field("extensions", 3, ".google.protobuf.Any")),
        ],
    );
    FileDescriptorProto {
        dependency: vec!["google/protobuf/any.proto".to_owned()],
        message_type: vec![body],
        ..file(HTTP_BODY, "google.api")
    }
}

fn file(name: &str, package: &str) -> FileDescriptorProto {
    FileDescriptorProto {
        name: Some(name.to_owned()),
        package: Some(package.to_owned()).filter(|package| !package.is_empty()),
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    }
}

fn message(name: &str, field: Vec<FieldDescriptorProto>) -> DescriptorProto {
    DescriptorProto { name: Some(name.to_owned()), field, ..DescriptorProto::default() }
}

fn field(name: &str, number: i32, kind: Type) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(kind.into()),
        ..FieldDescriptorProto::default()
    }
}

fn message_field(name: &str, number: i32, of: &str) -> FieldDescriptorProto {
    FieldDescriptorProto { type_name: Some(of.to_owned()), ..field(name, number, Type::Message) }
}

fn repeated(field: FieldDescriptorProto) -> FieldDescriptorProto {
    FieldDescriptorProto { label: Some(Label::Repeated.into()), ..field }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_file_compiles_with_what_it_imports() {
        for name in OPTIONS_ONLY.into_iter().chain([ANNOTATIONS, HTTP_BODY]) {
            let mut pool = DescriptorPool::new();
            let mut open = vec![name.to_owned()];
            let mut files = Vec::new();
            while let Some(name) = open.pop() {
                let (bytes, imports) = known_file(&name).unwrap();
                files.push(FileDescriptorProto::decode(bytes).unwrap());
                open.extend(imports);
            }
            pool.add_file_descriptor_protos(files).unwrap();
            assert!(pool.get_file_by_name(name).is_some(), "{name}");
        }
    }

    #[test]
    fn the_rule_of_a_method_is_read_through_the_known_annotations() {
        let mut pool = DescriptorPool::new();
        for name in ["google/protobuf/descriptor.proto", HTTP, ANNOTATIONS] {
            pool.decode_file_descriptor_proto(known_file(name).unwrap().0).unwrap();
        }
        let option = pool.get_extension_by_name("google.api.http").unwrap();
        assert_eq!(option.number(), 72_295_728);
        let rule = option.kind().as_message().unwrap().clone();
        let fields: Vec<_> =
            rule.fields().map(|field| (field.number(), field.name().to_owned())).collect();
        let expected = [
            (1, "selector"),
            (2, "get"),
            (3, "put"),
            (4, "post"),
            (5, "delete"),
            (6, "patch"),
            (7, "body"),
            (8, "custom"),
            (11, "additional_bindings"),
            (12, "response_body"),
        ];
        assert_eq!(fields, expected.map(|(number, name)| (number, name.to_owned())));
    }
}
