//! Generates the Rust of `proto/` and the descriptor set that server reflection answers from.
//!
//! The protobuf compiler is a library (protox): no `protoc` is needed on the machine.

use std::path::PathBuf;

const PROTO: &str = "quotes/v1/quotes.proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).open_file(PROTO)?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets no OUT_DIR")?);
    // The encoded form keeps `google.api.http`, for which prost's types have no place.
    std::fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
