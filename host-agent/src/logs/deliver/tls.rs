//! TLS towards a destination.
//!
//! In: PEM files. Out: rustls's configuration of a client. Needs the process's crypto provider to be installed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::{ClientConfig, RootCertStore};

/// Which files.
#[derive(Debug, Clone)]
pub(super) struct TlsFiles {
    /// The authorities; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// Certificate chain and key that are shown to the server.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    /// A file is missing or holds no PEM.
    #[error("cannot read {} as PEM: check what it contains and who may read it", file.display())]
    Pem {
        /// Its path.
        file: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// A file of authorities holds none that can be used.
    #[error("{} names no authority that can be used", file.display())]
    Authority {
        /// Its path.
        file: PathBuf,
    },
    /// The system has no authorities.
    #[error("this system has no certificate authorities: name them in ca_file")]
    NoAuthorities,
    /// Certificate and key do not go together.
    #[error("cannot use the certificate with the key")]
    Identity(#[source] rustls::Error),
    /// The provider cannot do TLS 1.2 or 1.3.
    #[error("the TLS provider cannot be used")]
    Provider(#[source] rustls::Error),
}

/// The client's side of TLS.
///
/// # Errors
/// The files cannot be used.
pub(super) fn client_config(files: &TlsFiles) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Provider)?
        .with_root_certificates(roots(files.ca.as_deref())?);
    let config = match &files.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|source| TlsError::Pem { file: key.clone(), source })?;
            builder.with_client_auth_cert(chain, key).map_err(TlsError::Identity)?
        }
    };
    Ok(Arc::new(config))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(file) => {
            roots.add_parsable_certificates(certificates(file)?);
            if roots.is_empty() {
                return Err(TlsError::Authority { file: file.to_owned() });
            }
        }
        None => {
            // Single files that cannot be read do not matter as long as there are authorities.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(TlsError::NoAuthorities);
            }
        }
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |source| TlsError::Pem { file: file.to_owned(), source };
    CertificateDer::pem_file_iter(file).map_err(wrong)?.collect::<Result<_, _>>().map_err(wrong)
}
