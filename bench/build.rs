//! Generates the Rust of `proto/` and the descriptor set that reflection, Envoy's transcoder and Go's plugins read.

use std::path::PathBuf;

const PROTO: &str = "echo/v1/echo.proto";
/// `google/api/annotations.proto` is here.
const SAMPLES: &str = "../samples/proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed={SAMPLES}/google");
    let mut compiler = protox::Compiler::new(["proto", SAMPLES])?;
    compiler.include_imports(true).open_file(PROTO)?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets no OUT_DIR")?);
    // The encoded form keeps `google.api.http`, for which prost's types have no place.
    std::fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
