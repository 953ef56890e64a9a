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

    /// The secret itself; for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// What an environment variable holds; `None`: nothing.
#[expect(clippy::disallowed_methods, reason = "secrets are what the environment is read for")]
pub(crate) fn environment(variable: &str) -> Option<Secret> {
    std::env::var(variable).ok().filter(|value| !value.is_empty()).map(Secret)
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
        let secret = Secret::from_file(&file).unwrap();
        assert_eq!(secret.expose(), "s3cret");
        assert_eq!(format!("{secret:?}"), "***");
    }

    #[test]
    fn a_missing_secret_file_is_named() {
        let error = Secret::from_file(Path::new("/nonexistent/token")).unwrap_err();
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
