//! The `artifact` block: fetches a file, checks it, unpacks it.
//!
//! In: `http`, `https` or `file` sources (a path is a file). Out: the content below the task's folder. A `.tar.gz`, `.tgz` or `.tar` is
//! unpacked unless `mode = "file"` or `archive=false`; anything else is put there and made executable as it was.
//! Deliberately absent: git, hg, S3, GCS.

use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256, Sha512};

use super::environment::Environment;
use super::folders::TaskPaths;
use crate::agent::job::Artifact;

/// Fetches one artifact.
pub(super) async fn fetch(
    http: &reqwest::Client,
    artifact: &Artifact,
    environment: &Environment,
    paths: &TaskPaths,
) -> Result<(), String> {
    let source = environment.replace(&artifact.source);
    let (source, inline) = source.split_once('?').unwrap_or((&source, ""));
    let mut options = artifact.options.clone();
    for pair in inline.split('&').filter_map(|pair| pair.split_once('=')) {
        if ["checksum", "archive"].contains(&pair.0) {
            options.insert(pair.0.to_owned(), pair.1.to_owned());
        }
    }
    let bytes = read(http, source).await?;
    if let Some(checksum) = options.get("checksum") {
        verify(source, &bytes, &environment.replace(checksum))?;
    }
    let destination = paths.within(&environment.replace(&artifact.destination))?;
    let name = source.rsplit('/').next().unwrap_or("artifact").to_owned();
    let keeps =
        artifact.mode == "file" || options.get("archive").is_some_and(|value| value == "false");
    let is_file = artifact.mode == "file";
    let work = move || place(&bytes, &name, &destination, keeps, is_file);
    let placed = tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?;
    placed.map_err(|error| format!("{source}: {error}"))
}

async fn read(http: &reqwest::Client, source: &str) -> Result<Vec<u8>, String> {
    if source.starts_with("http://") || source.starts_with("https://") {
        let refused = |error: reqwest::Error| format!("GET error: {}", service::ErrorChain(&error));
        let answer = http.get(source).send().await.map_err(refused)?;
        if !answer.status().is_success() {
            return Err(format!(
                "GET error: bad response code: {} for {source}",
                answer.status().as_u16()
            ));
        }
        return answer.bytes().await.map(|bytes| bytes.to_vec()).map_err(refused);
    }
    let path = source.strip_prefix("file://").unwrap_or(source);
    if !path.starts_with('/') {
        return Err(format!("{source}: this stand-in fetches http, https and file only"));
    }
    tokio::fs::read(path).await.map_err(|error| format!("{path}: {error}"))
}

fn verify(source: &str, bytes: &[u8], checksum: &str) -> Result<(), String> {
    let hex = |digest: &[u8]| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (kind, wanted) = checksum.split_once(':').unwrap_or(("sha256", checksum));
    let actual = match kind {
        "sha256" => hex(&Sha256::digest(bytes)),
        "sha512" => hex(&Sha512::digest(bytes)),
        _ => {
            return Err(format!(
                "checksum {kind} of {source}: this stand-in knows sha256 and sha512"
            ));
        }
    };
    if actual == wanted.to_lowercase() {
        return Ok(());
    }
    Err(format!("Checksums did not match for {source}. Expected: {wanted} Got: {actual}"))
}

fn place(
    bytes: &[u8],
    name: &str,
    destination: &Path,
    keeps: bool,
    is_file: bool,
) -> std::io::Result<()> {
    let is_zipped = name.ends_with(".tar.gz") || name.ends_with(".tgz");
    if !keeps && (is_zipped || name.ends_with(".tar")) {
        std::fs::create_dir_all(destination)?;
        let reader: Box<dyn Read> =
            if is_zipped { Box::new(flate2::read::GzDecoder::new(bytes)) } else { Box::new(bytes) };
        return tar::Archive::new(reader).unpack(destination);
    }
    let file: PathBuf = if is_file { destination.to_owned() } else { destination.join(name) };
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(file, bytes)
}
