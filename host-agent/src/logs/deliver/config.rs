//! `[logs.destinations.NAME]`: where records go, as an operator writes it and as the outputs take it.
//!
//! In: the raw tables, the destination's name and the agent's state folder. Out: an [`OutputConfig`], or every problem with
//! its key. Secrets and certificates are read here, so that a check of the configuration finds what the start would.
//!
//! **Invariants**: secrets are files, never values; a destination has exactly one kind.

pub mod forward;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use service::config::Problems;

pub use forward::{Compression, ForwardConfig, RawForward, RawServer, RawTls, ServerConfig};

/// Bytes of a mebibyte.
const MIB: u64 = 1024 * 1024;

/// `[logs.destinations.NAME]`: one of its tables.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawDestination {
    /// Fluentd's Forward protocol.
    pub forward: Option<RawForward>,
    /// JSON lines in a file.
    pub file: Option<RawFile>,
    /// JSON lines on standard output, for trying rules.
    pub stdout: Option<RawStdout>,
}

/// `[logs.destinations.NAME.file]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawFile {
    /// The file; older ones get `.1`, `.2` …
    pub path: Option<PathBuf>,
    /// Size at which it is rotated.
    pub max_mb: u64,
    /// Files kept, the current one included.
    pub keep: u32,
}

impl Default for RawFile {
    fn default() -> Self {
        Self { path: None, max_mb: 128, keep: 5 }
    }
}

/// `[logs.destinations.NAME.stdout]`: nothing to say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawStdout {}

/// What an output is made from.
#[derive(Debug, Clone)]
pub enum OutputConfig {
    /// Forward.
    Forward(Box<ForwardConfig>),
    /// JSON lines in a file.
    File(LineFileConfig),
    /// JSON lines on standard output.
    Stdout,
}

/// A file of lines that rotates by size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineFileConfig {
    /// The current file.
    pub path: PathBuf,
    /// Bytes at which it is rotated.
    pub max_bytes: u64,
    /// Files kept, the current one included.
    pub keep: u32,
}

impl RawDestination {
    /// The files whose content belongs to the configuration: secrets and certificates.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let forward = self.forward.iter();
        let files = forward.flat_map(|forward| {
            let tls =
                forward.tls.iter().flat_map(|tls| [&tls.ca_file, &tls.cert_file, &tls.key_file]);
            tls.chain([&forward.shared_key_file, &forward.password_file])
        });
        files.flatten().map(PathBuf::as_path)
    }

    /// What the output is made from; what is wrong is noted under `key`, the path of this table.
    ///
    /// `state` is the folder of the agent's state: dead letters lie in it unless configured otherwise, by `name`.
    pub fn resolve(
        self,
        key: &str,
        name: &str,
        state: &Path,
        problems: &mut Problems,
    ) -> Option<OutputConfig> {
        match (self.forward, self.file, self.stdout) {
            (Some(forward), None, None) => {
                let dead_letters = state.join("dead-letters").join(format!("{name}.jsonl"));
                forward
                    .resolve(&format!("{key}.forward"), dead_letters, problems)
                    .map(|config| OutputConfig::Forward(Box::new(config)))
            }
            (None, Some(file), None) => {
                file.resolve(&format!("{key}.file"), problems).map(OutputConfig::File)
            }
            (None, None, Some(RawStdout {})) => Some(OutputConfig::Stdout),
            _ => {
                problems.add(key, "write exactly one of the tables forward, file and stdout");
                None
            }
        }
    }
}

impl RawFile {
    fn resolve(self, key: &str, problems: &mut Problems) -> Option<LineFileConfig> {
        if self.path.is_none() {
            problems.add(format!("{key}.path"), "name the file to write");
        }
        line_file(key, self.path, (self.max_mb, "max_mb"), (self.keep, "keep"), problems)
    }
}

/// A rotated file from its size and count, each with the name of its key.
fn line_file(
    key: &str,
    path: Option<PathBuf>,
    (max_mb, max_key): (u64, &str),
    (keep, keep_key): (u32, &str),
    problems: &mut Problems,
) -> Option<LineFileConfig> {
    if max_mb == 0 {
        problems.add(format!("{key}.{max_key}"), "must be at least 1");
    }
    if keep == 0 {
        problems.add(format!("{key}.{keep_key}"), "must be at least 1: the current file counts");
    }
    let max_bytes = max_mb.saturating_mul(MIB);
    (max_mb > 0 && keep > 0).then_some(LineFileConfig { path: path?, max_bytes, keep })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(raw: RawDestination) -> (Option<OutputConfig>, String) {
        let mut problems = Problems::default();
        let state = Path::new("/var/lib/agent");
        let output = raw.resolve("logs.destinations.main", "main", state, &mut problems);
        let text = problems.finish::<()>(None, None).unwrap_err().to_string();
        (output, text)
    }

    #[test]
    fn a_destination_has_exactly_one_kind() {
        let (output, text) = resolve(RawDestination::default());
        assert!(output.is_none());
        assert!(text.contains("logs.destinations.main: write exactly one"), "{text}");
        let both = RawDestination {
            file: Some(RawFile::default()),
            stdout: Some(RawStdout {}),
            ..RawDestination::default()
        };
        assert!(resolve(both).1.contains("exactly one"));
    }

    #[test]
    fn all_problems_of_a_file_are_named() {
        let file = RawFile { path: None, max_mb: 0, keep: 0 };
        let (_, text) = resolve(RawDestination { file: Some(file), ..RawDestination::default() });
        for key in ["path", "max_mb", "keep"] {
            assert!(text.contains(&format!("main.file.{key}: ")), "{text}");
        }
    }
}
