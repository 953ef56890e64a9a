//! One TOML file per program, over built-in defaults, read with every problem named.
//!
//! In: a path and the type of the file's exact shape (`deny_unknown_fields`, `Default`). Out: that type, or
//! [`ConfigError`] with all problems and their key paths. Called by each program's `config.rs`, which then resolves
//! the raw values and reports its own problems through [`Problems`].
//!
//! **Invariants**: the environment is not read here; a key that is missing has its default; one bad key does not
//! hide another.

use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// More problems than this are not collected: the file is something else altogether.
const MOST_PROBLEMS: usize = 50;

/// One thing wrong in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// Where, such as `xds.listen`; empty for the file as a whole.
    pub key: String,
    /// What, and what would be right.
    pub message: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}", self.message),
            key => write!(f, "{key}: {}", self.message),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}", file.display())]
    Read {
        /// Its path.
        file: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file was read and is wrong.
    #[error("{file} cannot be used:{}", lines(problems))]
    Invalid {
        /// The file, or `configuration` when there is none.
        file: String,
        /// Everything that is wrong with it, in the order found.
        problems: Vec<ConfigProblem>,
    },
}

fn lines(problems: &[ConfigProblem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

/// Collects what a program finds wrong while it resolves its raw configuration.
#[derive(Debug, Default)]
pub struct Problems(Vec<ConfigProblem>);

impl Problems {
    /// Notes one problem.
    pub fn add(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.0.push(ConfigProblem { key: key.into(), message: message.into() });
    }

    /// Notes a number that is outside of what can be kept.
    pub fn within(&mut self, key: impl Into<String>, value: u64, range: RangeInclusive<u64>) {
        if !range.contains(&value) {
            let (least, most) = range.into_inner();
            self.add(key, format!("{value} is not between {least} and {most}"));
        }
    }

    /// Notes the error of a failed step and goes on without its value.
    pub fn take<T, E: fmt::Display>(&mut self, key: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(key, error.to_string())).ok()
    }

    /// The path, after a look whether the file can be opened: a check of the configuration must find what the start would.
    pub fn readable(&mut self, key: &str, file: Option<PathBuf>) -> Option<PathBuf> {
        if let Some(path) = &file
            && let Err(error) = std::fs::File::open(path)
        {
            self.add(key, format!("cannot open {}: {error}", path.display()));
        }
        file
    }

    /// A certificate and its key, `cert_file` and `key_file` of a table: both or neither.
    pub fn certificate(
        &mut self,
        table: &str,
        certificate: Option<PathBuf>,
        key: Option<PathBuf>,
    ) -> Option<(PathBuf, PathBuf)> {
        let certificate = self.readable(&format!("{table}.cert_file"), certificate);
        let key = self.readable(&format!("{table}.key_file"), key);
        match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => {
                self.add(format!("{table}.key_file"), "a certificate needs its key");
                None
            }
            (None, Some(_)) => {
                self.add(format!("{table}.cert_file"), "a key needs its certificate");
                None
            }
        }
    }

    /// The value when there was no problem.
    ///
    /// # Errors
    /// When a problem was noted, or when `value` is `None` because a step failed.
    pub fn finish<T>(self, file: Option<&Path>, value: Option<T>) -> Result<T, ConfigError> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(ConfigError::Invalid { file: file_name(file), problems: self.0 }),
        }
    }
}

fn file_name(file: Option<&Path>) -> String {
    file.map_or_else(|| "configuration".to_owned(), |file| file.display().to_string())
}

/// Reads the file, if there is one, over the defaults of its shape.
///
/// # Errors
/// When the file cannot be read, is not TOML, or has unknown keys or values of the wrong type: all are listed.
pub fn load<T>(file: Option<&Path>) -> Result<T, ConfigError>
where
    T: Default + Serialize + DeserializeOwned,
{
    let text = match file {
        None => String::new(),
        Some(file) => std::fs::read_to_string(file)
            .map_err(|source| ConfigError::Read { file: file.to_owned(), source })?,
    };
    parse(&text).map_err(|problems| ConfigError::Invalid { file: file_name(file), problems })
}

/// Reads TOML text over the defaults of its shape; a key at fault is taken out, so that the next one is found too.
fn parse<T>(text: &str) -> Result<T, Vec<ConfigProblem>>
where
    T: Default + Serialize + DeserializeOwned,
{
    let mut written: Dict = Figment::from(Toml::string(text))
        .extract()
        .map_err(|error| error.into_iter().map(|error| problem(&error).1).collect::<Vec<_>>())?;
    let defaults = Figment::from(Serialized::defaults(T::default()));
    let mut problems = Vec::new();
    loop {
        let errors = match defaults.clone().merge(Serialized::defaults(&written)).extract::<T>() {
            Ok(value) if problems.is_empty() => return Ok(value),
            Ok(_) => return Err(problems),
            Err(errors) => errors,
        };
        let mut is_removed = false;
        for error in errors {
            let (path, problem) = problem(&error);
            is_removed |= remove(&mut written, &path);
            problems.push(problem);
        }
        if !is_removed || problems.len() >= MOST_PROBLEMS {
            return Err(problems);
        }
    }
}

fn problem(error: &figment::Error) -> (Vec<String>, ConfigProblem) {
    let message = match &error.kind {
        Kind::UnknownField(_, known) => format!("unknown key; known here: {}", known.join(", ")),
        kind => kind.to_string(),
    };
    (error.path.clone(), ConfigProblem { key: error.path.join("."), message })
}

/// Takes the value at `path` out, or the nearest one above it that exists.
fn remove(dict: &mut Dict, path: &[String]) -> bool {
    let Some((first, rest)) = path.split_first() else { return false };
    if let Some(Value::Dict(_, inner)) = dict.get_mut(first)
        && !rest.is_empty()
        && remove(inner, rest)
    {
        return true;
    }
    dict.remove(first).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Raw {
        port: u16,
        name: Option<String>,
        xds: Xds,
    }

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Xds {
        coalesce_ms: u64,
        replicas: Vec<String>,
    }

    impl Default for Raw {
        fn default() -> Self {
            Self { port: 18002, name: None, xds: Xds { coalesce_ms: 3, replicas: vec![] } }
        }
    }

    #[test]
    fn what_the_file_does_not_say_has_its_default() {
        let raw: Raw = parse("[xds]\nreplicas = ['a']\n").unwrap();
        assert_eq!(
            raw,
            Raw {
                port: 18002,
                name: None,
                xds: Xds { coalesce_ms: 3, replicas: vec!["a".to_owned()] }
            }
        );
        assert_eq!(load::<Raw>(None).unwrap(), Raw::default());
    }

    #[test]
    fn all_problems_are_named_with_their_key_paths() {
        let problems =
            parse::<Raw>("port = 'x'\nspeed = 1\n[xds]\ncoalesce_ms = -1\nfoo = 2\n").unwrap_err();
        let mut keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["port", "speed", "xds.coalesce_ms", "xds.foo"]);
        let shown = ConfigError::Invalid { file: "c.toml".to_owned(), problems }.to_string();
        assert!(shown.contains("xds.foo: unknown key; known here: coalesce_ms"), "{shown}");
    }

    #[test]
    fn text_that_is_not_toml_is_refused_with_its_line() {
        let problems = parse::<Raw>("port = 1\nport 2\n").unwrap_err();
        assert!(problems[0].message.contains("line 2"), "{problems:?}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = load::<Raw>(Some(Path::new("/nonexistent.toml"))).unwrap_err();
        assert_eq!(error.to_string(), "cannot read the configuration file /nonexistent.toml");
    }

    #[test]
    fn a_program_s_own_problems_are_reported_together() {
        let mut problems = Problems::default();
        let port = problems.take("port", "x".parse::<u16>());
        problems.add("xds.replicas", "name at least one");
        let error = problems.finish(None, port).unwrap_err().to_string();
        assert!(error.contains("\n  port: ") && error.contains("\n  xds.replicas: "), "{error}");
    }
}
