//! Generates the Rust of `proto/` and the descriptor set that server reflection answers from.
//!
//! The protobuf compiler is a library (protox): no `protoc` is needed on the machine.

use std::path::PathBuf;

use prost::Message;

const PROTO: &str = "proto/quotes/v1/quotes.proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed={PROTO}");
    let descriptors = protox::compile([PROTO], ["proto"])?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets no OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
