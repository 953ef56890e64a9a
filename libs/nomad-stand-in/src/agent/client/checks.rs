//! Checks of services that Nomad itself keeps: the client asks them, Consul does not know of them.
//!
//! In: registrations. Out: results under the client's `checks`, as `GET /v1/client/allocation/ID/checks` shows them.

use std::sync::PoisonError;
use std::time::Duration;

use futures::future::join_all;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::Client;
use super::services::Registration;
use crate::agent::job::Check;
use crate::agent::state::Allocation;
use crate::agent::store::now;

/// The last outcome of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CheckResult {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    pub(crate) check: String,
    pub(crate) service: String,
    pub(crate) task: String,
    pub(crate) group: String,
    pub(crate) mode: &'static str,
    /// `success`, `failure` or `pending`
    pub(crate) status: &'static str,
    pub(crate) status_code: u16,
    pub(crate) output: String,
    /// Seconds since 1970.
    pub(crate) timestamp: i64,
    #[serde(skip)]
    pub(crate) registration: String,
}

/// Runs the checks of an allocation until it is dropped.
pub(super) async fn run(client: &Client, allocation: &Allocation, registrations: &[Registration]) {
    let own = registrations.iter().filter(|one| !one.is_consul);
    let loops = own.flat_map(|one| one.checks.iter().map(move |check| (one, check)));
    join_all(loops.map(|(one, (check, address, port))| {
        repeat(client, allocation, one, check, address, *port)
    }))
    .await;
    std::future::pending::<()>().await;
}

async fn repeat(
    client: &Client,
    allocation: &Allocation,
    one: &Registration,
    check: &Check,
    address: &str,
    port: u16,
) {
    let id = format!("{:x}", fnv1a(&format!("{} {}", one.id, check.name)));
    let result = |status, status_code, output: String| CheckResult {
        id: id.clone(),
        check: check.name.clone(),
        service: one.name.clone(),
        task: String::new(),
        group: allocation.name.clone(),
        mode: if check.on_update == "ignore" { "readiness" } else { "healthiness" },
        status,
        status_code,
        output,
        timestamp: now() / 1_000_000_000,
        registration: one.id.clone(),
    };
    let put = |result: CheckResult| {
        let mut checks = client.checks.lock().unwrap_or_else(PoisonError::into_inner);
        checks.entry(allocation.id.clone()).or_default().insert(result.id.clone(), result);
    };
    put(result("pending", 0, "nomad: waiting to run".to_owned()));
    let nanos = |value: i64| Duration::from_nanos(u64::try_from(value).unwrap_or_default());
    loop {
        let asked = timeout(nanos(check.timeout), ask(client, check, address, port)).await;
        put(match asked {
            Ok((true, code, output)) => result("success", code, output),
            Ok((false, code, output)) => result("failure", code, output),
            Err(_) => result("failure", 0, "nomad: the check timed out".to_owned()),
        });
        sleep(nanos(check.interval)).await;
    }
}

async fn ask(client: &Client, check: &Check, address: &str, port: u16) -> (bool, u16, String) {
    if check.kind == "tcp" {
        return match TcpStream::connect((address, port)).await {
            Ok(_) => (true, 0, "nomad: tcp ok".to_owned()),
            Err(error) => (false, 0, error.to_string()),
        };
    }
    let protocol = if check.protocol.is_empty() { "http" } else { &check.protocol };
    let method = check.method.parse().unwrap_or(reqwest::Method::GET);
    match client
        .http
        .request(method, format!("{protocol}://{address}:{port}{}", check.path))
        .send()
        .await
    {
        Ok(answer) => {
            let status = answer.status();
            let text = if status.is_success() {
                "nomad: http ok".to_owned()
            } else {
                answer.text().await.unwrap_or_default()
            };
            (status.is_success(), status.as_u16(), text)
        }
        Err(error) => (false, 0, service::ErrorChain(&error).to_string()),
    }
}

/// A stable 64-bit number of a text (FNV-1a).
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
