//! A real Envoy with a bootstrap written by hand.

use std::net::SocketAddr;
use std::path::Path;

use lab::envoy::Envoy;
use lab::folder::Folder;
use lab::http::Client;
use lab::{parts, ports};

fn bootstrap(admin: u16, listener: u16) -> String {
    format!(
        r#"
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {admin}}}}}}}
static_resources:
  listeners:
  - name: answer
    address: {{socket_address: {{address: 127.0.0.1, port_value: {listener}}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: answer
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: /}}
                direct_response: {{status: 200, body: {{inline_string: '{{"instance": "envoy"}}'}}}}
          http_filters:
          - name: router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
"#
    )
}

/// An Envoy that answers 200 to everything, and the address where it does.
pub(crate) async fn answering(binary: &Path, name: &str, dir: &Path) -> (Envoy, SocketAddr) {
    let (admin, listener) = (ports::reserve().unwrap(), ports::reserve().unwrap());
    let bootstrap = bootstrap(admin, listener);
    let mut envoy = Envoy::start(binary, name, dir, &bootstrap, admin, None).unwrap();
    envoy.wait_live().await.unwrap();
    (envoy, SocketAddr::from(([127, 0, 0, 1], listener)))
}

#[tokio::test]
async fn two_envoys_live_side_by_side_and_tell_what_they_did() {
    let test = "two_envoys_live_side_by_side_and_tell_what_they_did";
    let Some(binary) = parts::real_part_or_skip(test, "envoy") else { return };
    let dir = Folder::new("lab").unwrap();
    let ((mut one, address), (two, _)) =
        tokio::join!(answering(&binary, "one", dir.path()), answering(&binary, "two", dir.path()),);
    let answer = Client::new().get(address, "anyone", "/").await.unwrap();
    assert_eq!(answer.json().unwrap()["instance"], "envoy");
    let asked = "^http.answer.downstream_rq_2xx$";
    assert_eq!(one.sum(asked).await.unwrap(), 1);
    assert_eq!(two.sum(asked).await.unwrap(), 0);
    assert_eq!(one.config_faults().await.unwrap(), []);
    assert!(one.config_dump().await.unwrap()["configs"].is_array());
    one.stop().await.unwrap();
    assert!(Client::new().get(address, "anyone", "/").await.is_err());
}

#[tokio::test]
async fn an_envoy_that_refuses_its_bootstrap_is_reported_with_its_own_words() {
    let test = "an_envoy_that_refuses_its_bootstrap_is_reported_with_its_own_words";
    let Some(binary) = parts::real_part_or_skip(test, "envoy") else { return };
    let dir = Folder::new("lab").unwrap();
    let mut envoy =
        Envoy::start(&binary, "broken", dir.path(), "no_such_key: 1\n", 1, None).unwrap();
    let error = envoy.wait_live().await.unwrap_err().to_string();
    assert!(error.contains("no_such_key"), "{error}");
}
