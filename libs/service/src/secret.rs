//! A secret that cannot be printed by accident, and where it comes from.
//!
//! In: a file, or else an environment variable. Out: a [`Secret`] whose `Debug` and `Serialize` are `***`.
//! Used by configuration loading. A secret is never a value of the configuration file itself: it has no `Deserialize`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

/// A token, key or password.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the secret file {}: check that it exists and that this user may read it", file.display())]
    Read {
        /// Its path.
        file: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file holds nothing.
    #[error("the secret file {} is empty", file.display())]
    Empty {
        /// Its path.
        file: PathBuf,
    },
}

impl Secret {
    /// Takes a value that was read elsewhere.
    pub const fn new(value: String) -> Self {
        Self(value)
    }

    /// Reads a file; line ends at its end do not belong to the secret.
    ///
    /// # Errors
    /// When the file cannot be read as UTF-8 text or holds nothing.
    pub fn from_file(file: &Path) -> Result<Self, SecretError> {
        let text = std::fs::read_to_string(file)
            .map_err(|source| SecretError::Read { file: file.to_owned(), source })?;
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(SecretError::Empty { file: file.to_owned() }),
            value => Ok(Self(value.to_owned())),
        }
    }

    /// Reads the file when one is configured, else the environment variable; `None` when neither has anything.
    ///
    /// # Errors
    /// When the configured file cannot be used: the variable is no substitute for a broken file.
    pub fn load(file: Option<&Path>, variable: &str) -> Result<Option<Self>, SecretError> {
        match file {
            Some(file) => Self::from_file(file).map(Some),
            None => Ok(environment(variable).filter(|value| !value.is_empty()).map(Self)),
        }
    }

    /// The secret itself; for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

#[expect(clippy::disallowed_methods, reason = "secrets are what the environment is read for")]
fn environment(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_file_loses_its_line_end_and_is_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "s3cret\r\n").unwrap();
        let secret = Secret::load(Some(&file), "CARGO_PKG_NAME").unwrap().unwrap();
        assert_eq!(secret.expose(), "s3cret");
        assert_eq!(format!("{secret:?}"), "***");
    }

    #[test]
    fn the_environment_serves_only_when_no_file_is_configured() {
        let secret = Secret::load(None, "CARGO_PKG_NAME").unwrap();
        assert_eq!(secret.as_ref().map(Secret::expose), Some("service"));
        assert_eq!(Secret::load(None, "NO_SUCH_VARIABLE_HERE").unwrap(), None);
        let missing = Path::new("/nonexistent/token");
        let error = Secret::load(Some(missing), "CARGO_PKG_NAME").unwrap_err();
        assert!(error.to_string().contains("/nonexistent/token"), "{error}");
    }

    #[test]
    fn an_empty_secret_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "\n").unwrap();
        assert!(matches!(Secret::from_file(&file), Err(SecretError::Empty { .. })));
    }
}
