//! The API over TLS, to those who show its token.
#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::api::{ApiError, Status};
use control_plane::api::{self, ApiState};
use control_plane::catalog::run::CatalogState;
use control_plane::config::{ApiListener, Config, TlsFiles};
use control_plane::xds::server::ProxyTable;
use reqwest::{Certificate, Client, StatusCode};
use service::secret::Secret;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn beyond_loopback_the_api_speaks_tls_and_wants_its_token() {
    // The provider is the process's own; another test may have been first.
    drop(rustls::crypto::ring::default_provider().install_default());
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let token = folder.path().join("token");
    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&certificate, signed.cert.pem()).unwrap();
    std::fs::write(&key, signed.signing_key.serialize_pem()).unwrap();
    std::fs::write(&token, "s3cret\n").unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let access = ApiListener {
        listen: address,
        tls: Some(TlsFiles { certificate, key, client_ca: None }),
        token: Some(Secret::from_file(&token).unwrap()),
    };
    let (_catalog, catalog) = watch::channel(CatalogState::default());
    let (_model, model) = watch::channel(Arc::default());
    let state =
        ApiState { catalog, model, proxies: ProxyTable::default(), started: Instant::now() };
    let shutdown = CancellationToken::new();
    let serve = api::serve(listener, access, state, shutdown.clone());
    let (served, ()) = tokio::join!(serve, async {
        visit(address, signed.cert.pem().as_bytes()).await;
        shutdown.cancel();
    });
    served.unwrap();
}

async fn visit(address: SocketAddr, authority: &[u8]) {
    let client = Client::builder()
        .tls_certs_only([Certificate::from_pem(authority).unwrap()])
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap();
    let url = format!("https://{address}/v1/status");
    for wrong in [None, Some("s3cre"), Some("s3cret2")] {
        let mut request = client.get(&url);
        if let Some(wrong) = wrong {
            request = request.bearer_auth(wrong);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        let ApiError { error } = answer.json().await.unwrap();
        assert!(error.contains("--api-token-file"), "{error}");
    }
    let answer = client.get(&url).bearer_auth("s3cret").send().await.unwrap();
    assert!(!answer.json::<Status>().await.unwrap().ready);
}

#[test]
fn an_api_that_others_can_reach_unprotected_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("control-plane.toml");
    std::fs::write(&file, "[api]\nlisten = \"0.0.0.0:18002\"\n[xds]\nlisten = \"0.0.0.0:18000\"\n")
        .unwrap();
    let error = Config::read(Some(&file)).unwrap_err().to_string();
    assert!(error.contains("api.listen: 0.0.0.0:18002 is reachable from elsewhere"), "{error}");
    assert!(error.contains("xds.allow_plaintext"), "{error}");
}

#[test]
fn certificates_that_cannot_be_used_are_found_before_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("control-plane.toml");
    std::fs::write(
        &file,
        "[xds]\nclient_ca_file = \"/nonexistent/ca.pem\"\n\
         [api]\ncert_file = \"/nonexistent/cert.pem\"\nkey_file = \"/nonexistent/key.pem\"\n",
    )
    .unwrap();
    let error = Config::read(Some(&file)).unwrap_err().to_string();
    for expected in [
        "xds.client_ca_file: /nonexistent/ca.pem needs xds.cert_file",
        "xds.client_ca_file: cannot open /nonexistent/ca.pem",
        "api.cert_file: cannot open /nonexistent/cert.pem",
        "api.key_file: cannot open /nonexistent/key.pem",
    ] {
        assert!(error.contains(expected), "{error}");
    }
}
