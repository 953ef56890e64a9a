//! What the client promises, against scripted answers and against a real Consul.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail where it stands")]

mod errors;
mod indexes;
mod real;

use std::time::Duration;

use consul::testing::{ScriptedConsul, install_crypto_provider};
use consul::{ConsulClient, ConsulConfig};

/// A client that retries within milliseconds.
fn a_client_of(server: &ScriptedConsul) -> ConsulClient {
    ConsulClient::new(a_config_of(server)).unwrap()
}

fn a_config_of(server: &ScriptedConsul) -> ConsulConfig {
    install_crypto_provider();
    let mut config = ConsulConfig::new(server.url());
    config.wait = Duration::from_millis(400);
    config.limits.poll_slack = Duration::from_millis(300);
    config.limits.read_timeout = Duration::from_secs(2);
    config.limits.backoff_min = Duration::from_millis(5);
    config.limits.backoff_max = Duration::from_millis(20);
    config
}

/// Within ten seconds, or the test fails.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("within ten seconds")
}
