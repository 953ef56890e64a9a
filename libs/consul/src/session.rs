//! `/v1/session`, and keys that a session holds: a lock whose owner is seen to be alive.
//!
//! In: a name and how long a silent owner is believed. Out: a session's id; keys that are written only while it lives.
//!
//! **Invariants**: what a lock says outlives its owner, only its holding ends; whoever holds a key writes it, nobody else.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::client::ConsulClient;
use crate::error::ConsulError;
use crate::kv::{kv_path, write_rule};

const RULE: &str = "session_prefix \"\" { policy = \"write\" }";

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition<'a> {
    name: &'a str,
    #[serde(rename = "TTL")]
    ttl: String,
    lock_delay: &'static str,
    behavior: &'static str,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    #[serde(rename = "ID")]
    id: String,
}

impl ConsulClient {
    /// Makes a session that ends between `ttl` (at least 10 s) and twice that after its last renewal; the keys that it
    /// holds are then free at once and keep their values.
    ///
    /// # Errors
    /// As Consul answers.
    pub async fn create_session(&self, name: &str, ttl: Duration) -> Result<String, ConsulError> {
        let ttl = format!("{}s", ttl.as_secs());
        let definition = Definition { name, ttl, lock_delay: "0s", behavior: "release" };
        let request = self.request(Method::PUT, ["session", "create"], None).json(&definition);
        let body = self.submit(request, RULE).await?;
        let created: Created = serde_json::from_slice(&body).map_err(|source| {
            ConsulError::Malformed { request: "PUT /v1/session/create".to_owned(), source }
        })?;
        Ok(created.id)
    }

    /// Says that its owner lives; `false`: the session has ended.
    ///
    /// # Errors
    /// As Consul answers.
    pub async fn renew_session(&self, id: &str) -> Result<bool, ConsulError> {
        let request = self.request(Method::PUT, ["session", "renew", id], None);
        match self.submit(request, RULE).await {
            Ok(_) => Ok(true),
            Err(ConsulError::Status { status: 404, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Ends a session; one that has ended already is no error.
    ///
    /// # Errors
    /// As Consul answers.
    pub async fn destroy_session(&self, id: &str) -> Result<(), ConsulError> {
        let request = self.request(Method::PUT, ["session", "destroy", id], None);
        self.submit(request, RULE).await.map(drop)
    }

    /// Writes a key and holds it for the session, which may hold it already; `false`: another session holds it, and
    /// nothing is written.
    ///
    /// # Errors
    /// As Consul answers; a session that has ended is a status of 500 that says so.
    pub async fn lock_key(
        &self,
        key: &str,
        value: impl Into<Vec<u8>>,
        session: &str,
    ) -> Result<bool, ConsulError> {
        let parameter = Some(("acquire", session.to_owned()));
        let request = self.request(Method::PUT, kv_path(key), parameter);
        let body = self.submit(request.body(value.into()), &write_rule(key)).await?;
        Ok(body.starts_with(b"true"))
    }

    /// As [`Self::lock_key`], and only if the key's modify index is still this (0: only if it does not exist). `false`: it
    /// is not, or another session holds the key; nothing is written.
    ///
    /// # Errors
    /// As Consul answers.
    pub async fn lock_key_at(
        &self,
        key: &str,
        value: &[u8],
        session: &str,
        index: u64,
    ) -> Result<bool, ConsulError> {
        let unchanged = match index {
            0 => json!({"KV": {"Verb": "check-not-exists", "Key": key}}),
            index => json!({"KV": {"Verb": "check-index", "Key": key, "Index": index}}),
        };
        let value = STANDARD.encode(value);
        let lock = json!({"KV": {"Verb": "lock", "Key": key, "Value": value, "Session": session}});
        let request = self.request(Method::PUT, ["txn"], None).json(&[unchanged, lock]);
        match self.submit(request, &write_rule(key)).await {
            Ok(_) => Ok(true),
            // One of the two does not hold, so neither is done.
            Err(ConsulError::Status { status: 409, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
