//! `/v1/kv`: documents, read as bytes and written with check-and-set.

use serde::Deserialize;

use crate::client::ConsulClient;
use crate::config::Consistency;
use crate::decode::base64_bytes;
use crate::error::ConsulError;
use crate::query::Query;

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyValue {
    /// The whole key.
    pub key: String,
    /// The value's bytes.
    #[serde(default, deserialize_with = "base64_bytes")]
    pub value: Vec<u8>,
    /// What a check-and-set names.
    pub modify_index: u64,
    /// The session that holds it.
    #[serde(default)]
    pub session: Option<String>,
}

impl Query<Vec<KeyValue>> {
    /// Every key below `prefix`; none when there is none.
    /// Consul leaves out what the token may not read, without saying so: an empty answer is no proof.
    pub fn keys_below(prefix: &str) -> Self {
        let rule = format!("key_prefix \"{prefix}\" {{ policy = \"read\" }}");
        Self::new(std::iter::once("kv").chain(prefix.split('/')), rule)
            .with_flags(&["recurse"])
            .missing_is_empty()
    }

    /// One key: one element or none. Unlike a listing it is denied when the token may not read it.
    pub fn key(key: &str) -> Self {
        let rule = format!("key \"{key}\" {{ policy = \"read\" }}");
        Self::new(std::iter::once("kv").chain(key.split('/')), rule).missing_is_empty()
    }
}

impl ConsulClient {
    /// One key's value; `None` when it does not exist.
    pub async fn get_key(
        &self,
        key: &str,
        consistency: Consistency,
    ) -> Result<Option<KeyValue>, ConsulError> {
        Ok(self.read(&Query::key(key), consistency).await?.value.into_iter().next())
    }

    /// Writes a key. With `cas` only if its modify index is that (0: only if it does not exist);
    /// `false`: it was not, and nothing is written.
    pub async fn put_key(
        &self,
        key: &str,
        value: impl Into<Vec<u8>>,
        cas: Option<u64>,
    ) -> Result<bool, ConsulError> {
        let request = self.request(reqwest::Method::PUT, kv_path(key), cas_parameter(cas));
        let body = self.submit(request.body(value.into()), &write_rule(key)).await?;
        Ok(body.starts_with(b"true"))
    }

    /// Deletes a key. With `cas` only if its modify index is that; `false`: it was not, and nothing is deleted.
    pub async fn delete_key(&self, key: &str, cas: Option<u64>) -> Result<bool, ConsulError> {
        let request = self.request(reqwest::Method::DELETE, kv_path(key), cas_parameter(cas));
        let body = self.submit(request, &write_rule(key)).await?;
        Ok(body.starts_with(b"true"))
    }
}

pub(crate) fn kv_path(key: &str) -> Vec<&str> {
    std::iter::once("kv").chain(key.split('/')).collect()
}

fn cas_parameter(cas: Option<u64>) -> Option<(&'static str, String)> {
    cas.map(|index| ("cas", index.to_string()))
}

pub(crate) fn write_rule(key: &str) -> String {
    format!("key \"{key}\" {{ policy = \"write\" }}")
}
