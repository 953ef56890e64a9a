//! Whom an HTTP client believes, and what it shows: PEM files made part of its connection.
//!
//! In: a client's builder, paths. Out: the builder. Used by the clients of Consul, of Nomad and of the control planes' API.
//!
//! **Invariants**: files are read when the client is built. Without TLS no authority is looked for, because a host need
//! not have a store of them for what is not encrypted.

use std::path::{Path, PathBuf};

use reqwest::{Certificate, ClientBuilder, Identity};

use crate::credentials::ClientCertificate;

/// A file of which no client can be built.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("the {what} {} cannot be read: check its path and permissions", path.display())]
    File {
        /// What the file holds.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It holds something else.
    #[error("the {what} {} is not valid PEM: check what it contains", path.display())]
    Pem {
        /// What the file should hold.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// It holds no certificate at all: nobody would be believed.
    #[error("the CA file {} holds no certificate: check what it contains", .0.display())]
    Empty(PathBuf),
}

/// Lets a client believe the authorities of a file, without one the system's, and show a certificate.
///
/// # Errors
/// When a file cannot be read or holds something else.
pub fn set_up(
    builder: ClientBuilder,
    is_tls: bool,
    authorities: Option<&Path>,
    certificate: Option<&ClientCertificate>,
) -> Result<ClientBuilder, TlsError> {
    let mut builder = match authorities {
        Some(path) => {
            let pem = read("CA file", path)?;
            let all = Certificate::from_pem_bundle(&pem).map_err(|source| TlsError::Pem {
                what: "CA file",
                path: path.to_owned(),
                source,
            })?;
            if all.is_empty() {
                return Err(TlsError::Empty(path.to_owned()));
            }
            builder.tls_certs_only(all)
        }
        None if is_tls => builder,
        None => builder.tls_certs_only([]),
    };
    if let Some(certificate) = certificate {
        let mut pem = read("client certificate", &certificate.certificate_file)?;
        pem.extend(read("client key", &certificate.key_file)?);
        let identity = Identity::from_pem(&pem).map_err(|source| TlsError::Pem {
            what: "client certificate",
            path: certificate.certificate_file.clone(),
            source,
        })?;
        builder = builder.identity(identity);
    }
    Ok(builder)
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::File { what, path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use reqwest::Client;

    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_is_named_with_what_it_should_hold() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (gone, empty) = (folder.path().join("gone.pem"), file("empty.pem", "nothing"));
        let said = |authorities: Option<&Path>, certificate: Option<&ClientCertificate>| {
            set_up(Client::builder(), true, authorities, certificate).unwrap_err().to_string()
        };
        let own = |certificate: &Path, key: &Path| {
            ClientCertificate::from((certificate.to_owned(), key.to_owned()))
        };
        for (message, expected) in [
            (said(Some(&gone), None), "the CA file"),
            (said(None, Some(&own(&gone, &empty))), "the client certificate"),
            (said(None, Some(&own(&empty, &gone))), "the client key"),
        ] {
            let gone = gone.display();
            let whole = format!("{expected} {gone} cannot be read: check its path and permissions");
            assert_eq!(message, whole);
        }
        let whole = format!("the CA file {} holds no certificate", empty.display());
        assert!(said(Some(&empty), None).starts_with(&whole));
        let whole = format!("the client certificate {} is not valid PEM", empty.display());
        assert!(said(None, Some(&own(&empty, &empty))).starts_with(&whole));
    }
}
