//! The binaries a lab runs: ours, beside the running executable, and the real parts that `scripts/setup` brought.
//!
//! A real part is looked for in the environment (`AYATORI_ENVOY`, `AYATORI_CONSUL`), in `target/real-parts.env`,
//! then on PATH. An empty value counts as absent. `AYATORI_ENVOYS` lists Envoy in several versions.

use std::path::{Path, PathBuf};

use crate::LabError;

/// Where every binary is.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Folder of our own binaries, such as `target/debug`.
    pub ours: PathBuf,
    /// Envoy.
    pub envoy: PathBuf,
    /// Consul; `None`: the lab uses the file registry.
    pub consul: Option<PathBuf>,
}

impl Parts {
    /// Finds them from the running executable: a binary of ours, or a test of the workspace.
    pub fn find() -> Result<Self, LabError> {
        let ours = folder()?;
        let envoy = real_part("envoy").ok_or_else(|| LabError::Missing {
            what: "Envoy".to_owned(),
            next: "run `make setup`, or name the binary in AYATORI_ENVOY".to_owned(),
        })?;
        Ok(Self { ours, envoy, consul: real_part("consul") })
    }

    /// One of our own binaries.
    pub fn our(&self, name: &str) -> Result<PathBuf, LabError> {
        inside(&self.ours, name)
    }
}

/// One of our own binaries, where the real parts are not asked for.
pub fn our(name: &str) -> Result<PathBuf, LabError> {
    inside(&folder()?, name)
}

/// The folder of our own binaries.
fn folder() -> Result<PathBuf, LabError> {
    let executable =
        std::env::current_exe().map_err(LabError::io("find the running executable"))?;
    let mut ours = executable.parent().unwrap_or(Path::new(".")).to_owned();
    if ours.ends_with("deps") {
        ours.pop();
    }
    Ok(ours)
}

fn inside(folder: &Path, name: &str) -> Result<PathBuf, LabError> {
    let path = folder.join(name);
    if path.exists() {
        return Ok(path);
    }
    Err(LabError::Missing {
        what: path.display().to_string(),
        next: "build it with `make build`".to_owned(),
    })
}

/// The path of a real part such as `envoy` or `consul`, if this machine has it.
pub fn real_part(name: &str) -> Option<PathBuf> {
    let key = format!("AYATORI_{}", name.to_uppercase().replace('-', "_"));
    [variable(&key), in_setup_file(&key), on_path(name)]
        .into_iter()
        .flatten()
        .find(|path| path.exists())
}

/// A real part for a test; `None` after [`skip`].
pub fn real_part_or_skip(test: &str, name: &str) -> Option<PathBuf> {
    let found = real_part(name);
    if found.is_none() {
        skip(test, name, "this machine has none; run `make setup`");
    }
    found
}

/// Envoy in every version that this machine has, as `(version, binary)`; `None` after [`skip`] of `envoy-versions`.
pub fn envoy_versions_or_skip(test: &str) -> Option<Vec<(String, PathBuf)>> {
    let key = "AYATORI_ENVOYS";
    let listed = variable(key).or_else(|| in_setup_file(key)).unwrap_or_default();
    let listed = listed.to_string_lossy();
    let versions = listed.split(',').filter_map(|one| one.split_once('='));
    let versions: Vec<(String, PathBuf)> = versions
        .map(|(version, path)| (version.to_owned(), PathBuf::from(path)))
        .filter(|(_, path)| path.exists())
        .collect();
    if versions.is_empty() {
        skip(test, "envoy-versions", "AYATORI_ENVOYS names no Envoy that exists; run `make setup`");
        return None;
    }
    Some(versions)
}

/// The binaries for a test that runs ours too; `None` after [`skip`] (of `envoy` or `ours`).
pub fn parts_or_skip(test: &str, ours: &[&str]) -> Option<Parts> {
    real_part_or_skip(test, "envoy")?;
    let found = Parts::find().and_then(|parts| {
        ours.iter().try_for_each(|name| parts.our(name).map(drop))?;
        Ok(parts)
    });
    found.map_err(|error| skip(test, "ours", &crate::chain(&error))).ok()
}

/// Prints `SKIP` for a test that lacks a part; panics when `E2E_REQUIRE` names the part.
#[expect(clippy::print_stdout, clippy::panic, reason = "how a test says that it cannot run")]
pub fn skip(test: &str, part: &str, why: &str) {
    let required = variable("E2E_REQUIRE").unwrap_or_default();
    if required.to_string_lossy().split(',').any(|name| name.trim() == part) {
        panic!("{test}: E2E_REQUIRE names {part}, but {why}");
    }
    println!("SKIP {test}: {part}: {why}");
}

#[expect(clippy::disallowed_methods, reason = "where the machine's real parts are is environment")]
fn variable(key: &str) -> Option<PathBuf> {
    std::env::var(key).ok().filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn in_setup_file(key: &str) -> Option<PathBuf> {
    let executable = std::env::current_exe().ok()?;
    let target = executable.ancestors().find(|folder| folder.ends_with("target"))?;
    let text = std::fs::read_to_string(target.join("real-parts.env")).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim()).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn on_path(name: &str) -> Option<PathBuf> {
    let folders = variable("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
}
