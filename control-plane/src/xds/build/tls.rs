//! What clients of a Router see of its certificates: transport sockets, and the secrets that name the files.
//!
//! In: paths on the Router's host. Out: SDS resources, and the sockets that refer to them.
//!
//! **Invariants**: keys never leave their host: a secret is two paths and the folder whose change has them read again.

use std::sync::Arc;

use contract::node::CertificateFiles;
use envoy_types::pb::envoy::config::core::v3::{
    DataSource, TransportSocket, WatchedDirectory, data_source, transport_socket,
};
use envoy_types::pb::envoy::extensions::transport_sockets::quic::v3::QuicDownstreamTransport;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type as SecretType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::tls_parameters::TlsProtocol;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, Secret, TlsCertificate, TlsParameters,
};
use prost::{Message, Name};

use crate::xds::build::{cluster, encode, pack};
use crate::xds::resources::{Encoded, ResourceType};

/// The secret of a certificate.
pub fn secret(files: &CertificateFiles) -> Arc<Encoded> {
    let name = secret_name(files);
    let folder = std::path::Path::new(&files.chain).parent();
    let certificate = TlsCertificate {
        certificate_chain: Some(file(&files.chain)),
        private_key: Some(file(&files.key)),
        watched_directory: folder.map(|folder| WatchedDirectory {
            path: folder.to_string_lossy().into_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let message =
        Secret { name: name.clone(), r#type: Some(SecretType::TlsCertificate(certificate)) };
    encode(ResourceType::Secret, name.as_str().into(), &message, Arc::from([]))
}

/// TLS over TCP: HTTP/2 and HTTP/1.1.
pub(super) fn tcp(certificates: &[CertificateFiles]) -> TransportSocket {
    socket("envoy.transport_sockets.tls", &context(certificates, &["h2", "http/1.1"]))
}

/// QUIC: HTTP/3.
pub(super) fn quic(certificates: &[CertificateFiles]) -> TransportSocket {
    let transport = QuicDownstreamTransport {
        downstream_tls_context: Some(context(certificates, &["h3"])),
        ..Default::default()
    };
    socket("envoy.transport_sockets.quic", &transport)
}

fn context(certificates: &[CertificateFiles], protocols: &[&str]) -> DownstreamTlsContext {
    DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(TlsParameters {
                tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
                tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
                ..Default::default()
            }),
            tls_certificate_sds_secret_configs: certificates
                .iter()
                .map(|files| SdsSecretConfig {
                    name: secret_name(files),
                    sds_config: Some(cluster::ads()),
                })
                .collect(),
            alpn_protocols: protocols.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn socket<M: Message + Name>(name: &str, config: &M) -> TransportSocket {
    TransportSocket {
        name: name.to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(pack(config))),
    }
}

fn secret_name(files: &CertificateFiles) -> String {
    format!("certificate:{}", files.chain)
}

fn file(path: &str) -> DataSource {
    DataSource {
        specifier: Some(data_source::Specifier::Filename(path.to_owned())),
        ..Default::default()
    }
}
