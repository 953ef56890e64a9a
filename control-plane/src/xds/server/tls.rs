//! TLS of the xDS port.
//!
//! In: certificates in PEM. Out: an acceptor that speaks HTTP/2.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

/// Certificates in PEM.
#[derive(Clone)]
pub struct XdsTls {
    /// The server's chain.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
    /// Who signs the certificates that proxies must then show.
    pub client_ca: Option<Vec<u8>>,
}

impl std::fmt::Debug for XdsTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("XdsTls")
            .field("client_ca", &self.client_ca.is_some())
            .finish_non_exhaustive()
    }
}

/// Certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file holds no such thing in PEM.
    #[error("cannot read the {0} as PEM")]
    Pem(&'static str, #[source] rustls::pki_types::pem::Error),
    /// A client CA is no certificate.
    #[error("cannot use the client CA")]
    ClientCa(#[source] rustls::Error),
    /// Nobody could be verified with the client CA.
    #[error("cannot verify clients")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
    /// Chain and key do not go together.
    #[error("cannot use the certificate with the key")]
    Identity(#[source] rustls::Error),
}

/// The acceptor for these certificates.
///
/// # Errors
/// They cannot be used.
pub(super) fn acceptor(tls: &XdsTls) -> Result<TlsAcceptor, TlsError> {
    let builder = ServerConfig::builder();
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(ca, "client CA")? {
                roots.add(certificate).map_err(TlsError::ClientCa)?;
            }
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
            builder.with_client_cert_verifier(verifier.map_err(TlsError::Verifier)?)
        }
    };
    let chain = certificates(&tls.certificate, "certificate")?;
    let key = PrivateKeyDer::from_pem_slice(&tls.key);
    let key = key.map_err(|error| TlsError::Pem("key", error))?;
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Identity)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::Pem(what, error))
}
