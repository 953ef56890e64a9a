//! What a client shows to a server that it did not bring along: an ACL token, a certificate.
//!
//! In: files, an environment variable. Out: a header's value, paths. Used by the clients of Consul and of Nomad.
//!
//! **Invariants**: a token is never printed; one in a file is read again for each request, so that a rotated one takes
//! effect with the next.

use std::path::{Path, PathBuf};

use http::HeaderValue;

use crate::secret::{Secret, SecretError, environment};

/// Where the ACL token comes from.
#[derive(Debug, Clone, Default)]
pub enum Token {
    /// Anonymous.
    #[default]
    None,
    /// Given.
    Value(Secret),
    /// In a file, read again for each request.
    File(PathBuf),
}

/// Why a token cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Its file cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// It is no header's value.
    #[error("{origin} holds no token: one line of ASCII is expected")]
    NoHeader {
        /// Where it comes from.
        origin: String,
    },
}

/// A certificate and its key, PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, followed by its chain.
    pub certificate_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

impl Token {
    /// The file where one is configured, else what the environment variable holds, else none. A file may come later.
    pub fn configured(file: Option<PathBuf>, variable: &str) -> Self {
        match file {
            Some(file) => Self::File(file),
            None => environment(variable).map_or(Self::None, Self::Value),
        }
    }

    /// As [`Self::configured`], for a command: a file that cannot be used is said at once.
    ///
    /// # Errors
    /// When the file cannot be read or holds nothing.
    pub fn given(file: Option<&Path>, variable: &str) -> Result<Self, SecretError> {
        file.map(Secret::from_file).transpose()?;
        Ok(Self::configured(file.map(Path::to_owned), variable))
    }

    /// The value of the header that carries it, marked as one that is not to be logged; `None`: anonymous.
    ///
    /// # Errors
    /// When the file cannot be read or holds nothing, or it is no header's value.
    pub async fn header(&self) -> Result<Option<HeaderValue>, TokenError> {
        let (text, origin) = match self {
            Self::None => return Ok(None),
            Self::Value(secret) => (secret.expose().to_owned(), "what was given".to_owned()),
            Self::File(file) => {
                let text = tokio::fs::read_to_string(file).await;
                let text =
                    text.map_err(|source| SecretError::Read { file: file.clone(), source })?;
                if text.trim().is_empty() {
                    return Err(SecretError::Empty { file: file.clone() }.into());
                }
                (text, format!("the file {}", file.display()))
            }
        };
        let value = HeaderValue::from_str(text.trim());
        let mut value = value.map_err(|_| TokenError::NoHeader { origin })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

impl From<(PathBuf, PathBuf)> for ClientCertificate {
    /// Of a certificate's file and its key's.
    fn from((certificate_file, key_file): (PathBuf, PathBuf)) -> Self {
        Self { certificate_file, key_file }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shown(token: &Token) -> Result<Option<String>, String> {
        let header = token.header().await.map_err(|error| error.to_string())?;
        assert!(!format!("{header:?}").contains("s3cret"), "{header:?}");
        Ok(header.map(|own| own.to_str().unwrap().to_owned()))
    }

    #[tokio::test]
    async fn a_token_in_a_file_is_read_each_time_and_an_unusable_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        assert!(Token::given(Some(&file), "X").is_err(), "a command is told at once");
        let token = Token::configured(Some(file.clone()), "CARGO_PKG_NAME");
        assert!(shown(&token).await.unwrap_err().contains("cannot read the secret file"));
        std::fs::write(&file, "s3cret\n").unwrap();
        assert_eq!(shown(&token).await, Ok(Some("s3cret".to_owned())));
        assert_eq!(
            shown(&Token::given(Some(&file), "X").unwrap()).await.unwrap().unwrap(),
            "s3cret"
        );
        for (text, why) in [(" \n", "is empty"), ("two\nlines", "one line of ASCII")] {
            std::fs::write(&file, text).unwrap();
            let error = shown(&token).await.unwrap_err();
            assert!(error.contains(why) && error.contains("token"), "{error}");
        }
    }

    #[tokio::test]
    async fn without_a_file_the_environment_says_it_and_without_that_nobody() {
        let token = Token::configured(None, "CARGO_PKG_NAME");
        assert_eq!(shown(&token).await, Ok(Some("service".to_owned())));
        assert!(matches!(Token::configured(None, "NO_SUCH_VARIABLE_HERE"), Token::None));
        assert_eq!(shown(&Token::None).await, Ok(None));
    }
}
