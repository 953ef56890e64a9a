//! A client of an encrypted Router: HTTP/1.1 and HTTP/2 over TLS, one connection at a time, and what it needs to trust.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use contract::node::CertificateFiles;
use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use lab::http::Answer;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, crypto};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// Who signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// What clients trust who trust this one.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// Puts a new certificate for a host in the place of what is there, as an operator does: the key first, each by
    /// a rename. Gives the certificate.
    pub(crate) fn issue(&self, host: &str, files: &CertificateFiles) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        put(&files.key, &key.serialize_pem());
        put(&files.chain, &certificate.pem());
        certificate.der().clone()
    }
}

/// Writes a file and renames it to its place.
pub(crate) fn put(path: &str, text: &str) {
    let new = format!("{path}.new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// Where a certificate lies, each in a folder of its own.
pub(crate) fn files(folder: &Path, host: &str) -> CertificateFiles {
    let folder = folder.join("certificates").join(host);
    std::fs::create_dir_all(&folder).unwrap();
    let path = |name: &str| folder.join(name).display().to_string();
    CertificateFiles { chain: path("chain.pem"), key: path("key.pem") }
}

/// Which HTTP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

/// Whom the client trusts.
#[derive(Clone)]
pub(crate) struct Browser {
    roots: Arc<RootCertStore>,
    address: SocketAddr,
}

/// A connection, and the certificate that was shown on it.
pub(crate) struct Connection {
    sender: Sender,
    host: String,
    pub(crate) certificate: CertificateDer<'static>,
    _driver: JoinSet<()>,
}

enum Sender {
    One(http1::SendRequest<Empty<Bytes>>),
    Two(http2::SendRequest<Empty<Bytes>>),
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Browser {
    pub(crate) fn new(address: SocketAddr, trusted: &[&Authority]) -> Self {
        let mut roots = RootCertStore::empty();
        for authority in trusted {
            let root = CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap();
            roots.add(root).unwrap();
        }
        Self { roots: Arc::new(roots), address }
    }

    /// Connects, and asks for the host's certificate.
    pub(crate) async fn connect(
        &self,
        host: &str,
        version: Version,
    ) -> Result<Connection, BoxError> {
        let provider = Arc::new(crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        let offered: &[u8] = if version == Version::One { b"http/1.1" } else { b"h2" };
        config.alpn_protocols = vec![offered.to_vec()];
        let name = ServerName::try_from(host.to_owned())?;
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let (_, session) = stream.get_ref();
        assert_eq!(session.alpn_protocol(), Some(offered));
        let shown = session.peer_certificates().and_then(|chain| chain.first());
        let certificate = shown.ok_or("no certificate")?.clone().into_owned();
        let mut driver = JoinSet::new();
        let io = TokioIo::new(stream);
        // An error of the connection reaches the answer too.
        let sender = match version {
            Version::One => {
                let (sender, connection) = http1::handshake(io).await?;
                driver.spawn(async move { drop(connection.await) });
                Sender::One(sender)
            }
            Version::Two => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                driver.spawn(async move { drop(connection.await) });
                Sender::Two(sender)
            }
        };
        Ok(Connection { sender, host: host.to_owned(), certificate, _driver: driver })
    }

    /// One request on a connection of its own.
    pub(crate) async fn get(
        &self,
        host: &str,
        version: Version,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        self.connect(host, version).await.unwrap().get(path, headers).await.unwrap()
    }
}

impl Connection {
    /// Asks once more on the same connection.
    pub(crate) async fn get(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Answer, BoxError> {
        let host = &self.host;
        let request = match &self.sender {
            Sender::One(_) => Request::get(path).header(header::HOST, host),
            Sender::Two(_) => Request::get(format!("https://{host}{path}")),
        };
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.body(Empty::new())?;
        let (head, body) = match &mut self.sender {
            Sender::One(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::Two(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        }
        .into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes(), trailers })
    }
}
