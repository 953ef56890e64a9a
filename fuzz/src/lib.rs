//! The schema that is fuzzed: that of the tests, a field of every kind and bindings of every form.

use std::path::Path;
use std::sync::LazyLock;

use api_gateway::transcode::Api;
use prost_reflect::DescriptorPool;

/// The test service, compiled.
pub static API: LazyLock<Api> = LazyLock::new(|| {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../api-gateway/tests/transcode/protos");
    let mut compiler = protox::Compiler::new([folder]).expect("the folder of the test schema");
    compiler.include_imports(true).open_file("echo/v1/echo.proto").expect("the test schema");
    let files = compiler.encode_file_descriptor_set();
    let pool = DescriptorPool::decode(files.as_slice()).expect("the test schema's descriptors");
    Api::compile(&pool, &["echo.v1.Echo".to_owned()]).expect("the test schema's rules")
});
