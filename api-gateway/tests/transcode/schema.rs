//! The schema of the test service, compiled from `protos/`.

use std::path::Path;
use std::sync::LazyLock;

use api_gateway::transcode::{Api, ApiError};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use prost_types::FileDescriptorSet;

/// The descriptor set as bytes, all imports among them; compiled once.
pub(crate) fn encoded() -> &'static [u8] {
    static ENCODED: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcode/protos");
        let mut compiler = protox::Compiler::new([folder]).unwrap();
        compiler.include_imports(true).open_file("echo/v1/echo.proto").unwrap();
        compiler.encode_file_descriptor_set()
    });
    &ENCODED
}

pub(crate) fn pool() -> DescriptorPool {
    static POOL: LazyLock<DescriptorPool> =
        LazyLock::new(|| DescriptorPool::decode(encoded()).unwrap());
    POOL.clone()
}

/// The message with a field of every kind.
pub(crate) fn kinds() -> MessageDescriptor {
    pool().get_message_by_name("echo.v1.Kinds").unwrap()
}

/// The files of the schema.
pub(crate) fn files() -> FileDescriptorSet {
    FileDescriptorSet::decode(encoded()).unwrap()
}

/// The gRPC service `t.T` of a schema with these methods, compiled.
pub(crate) fn api_of(methods: &str) -> Result<Api, ApiError> {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "syntax = \"proto3\"; package t; import \"echo/v1/kinds.proto\"; import \"google/api/annotations.proto\";\n\
         service T {{ {methods} }}"
    );
    std::fs::write(folder.path().join("t.proto"), text).unwrap();
    let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcode/protos");
    let mut compiler = protox::Compiler::new([folder.path().to_owned(), protos]).unwrap();
    compiler.include_imports(true).open_file("t.proto").unwrap();
    let pool = DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).unwrap();
    Api::compile(&pool, &["t.T".to_owned()])
}

/// The schema as reflection of some servers has it: the option's file is not there, nor is it imported.
pub(crate) fn pool_without_annotations() -> DescriptorPool {
    let set = pool();
    let kept = set.files().filter(|file| !OPTION_FILES.contains(&file.name()));
    let mut pool = DescriptorPool::new();
    for file in kept {
        let mut dynamic = DynamicMessage::new(
            DescriptorPool::global()
                .get_message_by_name("google.protobuf.FileDescriptorProto")
                .unwrap(),
        );
        dynamic.merge(file.encode_to_vec().as_slice()).unwrap();
        let imports = dynamic.get_field_by_name_mut("dependency").unwrap().as_list_mut().unwrap();
        imports.retain(|name| !OPTION_FILES.contains(&name.as_str().unwrap()));
        pool.decode_file_descriptor_proto(dynamic.encode_to_vec().as_slice()).unwrap();
    }
    pool
}

const OPTION_FILES: [&str; 2] = ["google/api/annotations.proto", "google/api/http.proto"];
