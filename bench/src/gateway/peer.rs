//! grpc-gateway, generated and built for the service that is measured.
//!
//! In: `bench/grpc-gateway/` and the service's descriptors. Out: a binary below `target/bench`. Go's plugins are asked
//! as `protoc` would ask them, so that no `protoc` is needed; `go.mod` pins them with everything else.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;
use lab::process::{self, Program};
use prost::Message;
use prost_reflect::DescriptorPool;
use tokio::process::Command;

use crate::contender::output_dir;
use crate::echo::proto::DESCRIPTORS;

const SOURCES: [(&str, &str); 3] = [
    ("go.mod", include_str!("../../grpc-gateway/go.mod")),
    ("go.sum", include_str!("../../grpc-gateway/go.sum")),
    ("main.go", include_str!("../../grpc-gateway/main.go")),
];
const PLUGINS: [&str; 3] = ["protoc-gen-go", "protoc-gen-go-grpc", "protoc-gen-grpc-gateway"];
/// Where generated files go, and the packages of what they import.
const PARAMETER: &str = "module=ayatori/bench/grpc-gateway,\
    Mgoogle/api/annotations.proto=google.golang.org/genproto/googleapis/api/annotations,\
    Mgoogle/api/http.proto=google.golang.org/genproto/googleapis/api/annotations";

/// What a plugin is asked (`google.protobuf.compiler.CodeGeneratorRequest`), its files encoded: they keep their options.
#[derive(Clone, PartialEq, Message)]
struct Question {
    #[prost(string, repeated, tag = "1")]
    file_to_generate: Vec<String>,
    #[prost(string, tag = "2")]
    parameter: String,
    #[prost(bytes = "vec", repeated, tag = "15")]
    proto_file: Vec<Vec<u8>>,
}

/// What it answers (`CodeGeneratorResponse`).
#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(string, optional, tag = "1")]
    error: Option<String>,
    #[prost(message, repeated, tag = "15")]
    file: Vec<GeneratedFile>,
}

#[derive(Clone, PartialEq, Message)]
struct GeneratedFile {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "15")]
    content: String,
}

/// Builds it; `None`, and a line that says so, where there is no Go.
///
/// # Errors
/// It cannot be generated or built.
#[expect(clippy::print_stdout, reason = "people read why a column is empty")]
pub(super) async fn build() -> anyhow::Result<Option<PathBuf>> {
    let Some(go) = lab::parts::real_part("go") else {
        println!("SKIP grpc-gateway: no `go` on PATH; its column stays empty");
        return Ok(None);
    };
    let folder = output_dir()?.join("grpc-gateway-source");
    for (name, text) in SOURCES {
        write(&folder.join(name), text.as_bytes())?;
    }
    let question = folder.join("question.bin");
    write(&question, &ask()?.encode_to_vec())?;
    for plugin in PLUGINS {
        let answer = generate(&go, &folder, &question, plugin).await?;
        anyhow::ensure!(answer.error.is_none(), "{plugin}: {}", answer.error());
        for file in answer.file {
            write(&folder.join(&file.name), file.content.as_bytes())?;
        }
    }
    let binary = output_dir()?.join("grpc-gateway");
    let [source, target] = [&folder, &binary].map(|path| path.display().to_string());
    let build = Program::new("go build", &go).args([
        "build",
        "-C",
        &source,
        "-mod=mod",
        "-buildvcs=false",
        "-o",
        &target,
        ".",
    ]);
    process::run(&build).await.context("grpc-gateway cannot be built")?;
    Ok(Some(binary))
}

fn ask() -> anyhow::Result<Question> {
    let pool = DescriptorPool::decode(DESCRIPTORS).context("the service's descriptors")?;
    Ok(Question {
        file_to_generate: vec!["echo/v1/echo.proto".to_owned()],
        parameter: PARAMETER.to_owned(),
        proto_file: pool.files().map(|file| file.encode_to_vec()).collect(),
    })
}

async fn generate(
    go: &Path,
    folder: &Path,
    question: &Path,
    plugin: &str,
) -> anyhow::Result<Answer> {
    let mut command = Command::new(go);
    command.args(["tool", plugin]).current_dir(folder).stdin(Stdio::from(File::open(question)?));
    let output = command.output().await.with_context(|| format!("cannot run {plugin}"))?;
    anyhow::ensure!(
        output.status.success(),
        "{plugin} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Answer::decode(&*output.stdout).with_context(|| format!("{plugin}'s answer"))
}

fn write(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let write = || {
        file.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::write(file, bytes)
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}
