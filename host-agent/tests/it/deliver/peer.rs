//! Against npm's `@fluent-org/logger`: every mode that it knows.

use std::path::{Path, PathBuf};

use host_agent::logs::deliver::config::{Compression, RawForward, RawTls};
use lab::forward_peer::{Demands, ForwardPeer};
use lab::wait;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::json;

use super::sender::{SOON, Sender, TIME_NS, TIME_S, forward, message};

const RECORDS: u32 = 300;

/// Two messages arrive whole, in order, with their tag and time.
async fn arrives(peer: &ForwardPeer, raw: RawForward, folder: &Path) -> Sender {
    let mut sender = Sender::start(raw, folder);
    for prefix in ["a", "b"] {
        sender.send(message(prefix, RECORDS, |number| format!("line {number} ✓"))).await;
    }
    assert_eq!(sender.all_settled().await, (2 * RECORDS, 0));
    let entries = wait::until("all records are printed", SOON, async || {
        let entries = peer.entries();
        let count = entries.len();
        if count == 2 * RECORDS as usize { Ok(entries) } else { Err(count) }
    })
    .await
    .unwrap();
    for (place, entry) in entries.iter().enumerate() {
        let (prefix, number) = if place < 300 { ("a", place) } else { ("b", place - 300) };
        let record = json!({"record_id": format!("{prefix}-{number}"), "message": format!("line {number} ✓")});
        assert_eq!(entry.record, record);
        assert_eq!(entry.tag, "mesh.trading.orders");
        assert_eq!(entry.time_ns, u64::from(TIME_S) * 1_000_000_000 + u64::from(TIME_NS));
    }
    sender
}

/// Nothing arrives, and the server is not up.
async fn is_refused(peer: &ForwardPeer, raw: RawForward, folder: &Path) {
    let mut sender = Sender::start(raw, folder);
    sender.send(message("a", 1, |_| "x".to_owned())).await;
    // With TLS 1.3 a client learns after its handshake that its certificate is refused: the server is up for a moment.
    wait::until("the client was refused twice, and the server counts as down", SOON, async || {
        let failures = sender.metric("mesh_logs_connection_failures_total");
        let up = sender.metric("mesh_logs_server_up");
        if failures >= 2.0 && up == 0.0 {
            Ok(())
        } else {
            Err(format!("{failures} failures, up {up}"))
        }
    })
    .await
    .unwrap();
    assert_eq!(sender.metric("mesh_logs_dead_records_total"), 0.0);
    assert!(sender.settled().is_empty());
    assert_eq!(peer.entries(), []);
}

fn secret(folder: &Path, name: &str, text: &str) -> Option<PathBuf> {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    Some(file)
}

#[tokio::test(flavor = "multi_thread")]
async fn records_arrive_whole_packed_or_not_over_connections_that_stay_or_not() {
    let test = "records_arrive_whole_packed_or_not_over_connections_that_stay_or_not";
    for (compression, keepalive) in
        [(Compression::Gzip, true), (Compression::None, true), (Compression::Gzip, false)]
    {
        let folder = tempfile::tempdir().unwrap();
        let demands = Demands::default();
        let started = ForwardPeer::start_or_skip(test, &demands, folder.path()).await.unwrap();
        let Some(peer) = started else { return };
        let raw = RawForward { compression, keepalive, ..forward(&[peer.address()]) };
        let sender = arrives(&peer, raw, folder.path()).await;
        assert_eq!(sender.metric("mesh_logs_acks_total"), 2.0);
        assert_eq!(sender.metric("mesh_logs_acked_records_total"), 600.0);
        assert_eq!(sender.metric("mesh_logs_resent_records_total"), 0.0);
        let connections = sender.metric("mesh_logs_connections_total");
        assert!(if keepalive { connections == 1.0 } else { connections >= 2.0 }, "{connections}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_acknowledgements_records_count_as_unconfirmed() {
    let test = "without_acknowledgements_records_count_as_unconfirmed";
    let folder = tempfile::tempdir().unwrap();
    let started = ForwardPeer::start_or_skip(test, &Demands::default(), folder.path()).await;
    let Some(peer) = started.unwrap() else { return };
    let raw = RawForward { require_ack: false, ..forward(&[peer.address()]) };
    let sender = arrives(&peer, raw, folder.path()).await;
    assert_eq!(sender.metric("mesh_logs_unconfirmed_records_total"), 600.0);
    assert_eq!(sender.metric("mesh_logs_acked_records_total"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shared_key_and_the_user_open_the_door_and_nothing_else_does() {
    let test = "the_shared_key_and_the_user_open_the_door_and_nothing_else_does";
    let folder = tempfile::tempdir().unwrap();
    let demands = Demands {
        shared_key: Some("s3cret".to_owned()),
        user: Some(("agent".to_owned(), "pa55".to_owned())),
        ..Demands::default()
    };
    let started = ForwardPeer::start_or_skip(test, &demands, folder.path()).await.unwrap();
    let Some(peer) = started else { return };
    let good = RawForward {
        shared_key_file: secret(folder.path(), "key", "s3cret\n"),
        user: Some("agent".to_owned()),
        password_file: secret(folder.path(), "password", "pa55\n"),
        ..forward(&[peer.address()])
    };
    let wrong = secret(folder.path(), "wrong", "another");
    let wrong_key = RawForward { shared_key_file: wrong.clone(), ..good.clone() };
    let wrong_password = RawForward { password_file: wrong, ..good.clone() };
    let no_user = RawForward { user: None, password_file: None, ..good.clone() };
    for bad in [wrong_key, wrong_password, no_user, forward(&[peer.address()])] {
        is_refused(&peer, bad, folder.path()).await;
    }
    arrives(&peer, good, folder.path()).await;
}

/// PEM files of an authority, of a server that it signed for `logs.example`, and of a client.
struct Certificates {
    authority: PathBuf,
    server: (PathBuf, PathBuf),
    client: (PathBuf, PathBuf),
}

fn certificates(folder: &Path) -> Certificates {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "test authority");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let signed = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let files = (format!("{name}.pem"), format!("{name}.key"));
        let certificate = secret(folder, &files.0, &certificate.pem()).unwrap();
        (certificate, secret(folder, &files.1, &key.serialize_pem()).unwrap())
    };
    let (server, client) = (signed("logs.example"), signed("agent.example"));
    let authority = secret(folder, "ca.pem", &authority.pem()).unwrap();
    Certificates { authority, server, client }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_checks_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = certificates(folder.path());
    let demands = Demands {
        tls: Some(certificates.server.clone()),
        client_ca: Some(certificates.authority.clone()),
        ..Demands::default()
    };
    let started =
        ForwardPeer::start_or_skip("tls_checks_both_sides", &demands, folder.path()).await;
    let Some(peer) = started.unwrap() else { return };
    let mut good = forward(&[peer.address()]);
    good.servers[0].tls_server_name = Some("logs.example".to_owned());
    good.tls = Some(RawTls {
        ca_file: Some(certificates.authority.clone()),
        cert_file: Some(certificates.client.0.clone()),
        key_file: Some(certificates.client.1.clone()),
    });
    let mut wrong_name = good.clone();
    wrong_name.servers[0].tls_server_name = Some("other.example".to_owned());
    let mut no_certificate = good.clone();
    no_certificate.tls =
        Some(RawTls { ca_file: Some(certificates.authority.clone()), ..RawTls::default() });
    let mut wrong_authority = good.clone();
    wrong_authority.tls.as_mut().unwrap().ca_file = Some(certificates.client.0.clone());
    for bad in [wrong_name, wrong_authority, no_certificate] {
        is_refused(&peer, bad, folder.path()).await;
    }
    arrives(&peer, good, folder.path()).await;
}
