//! A JSON API at one address, asked by one who may.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request, header};
use serde_json::Value;

use super::{Answer, Client};
use crate::LabError;

/// An API, and who asks it.
#[derive(Debug, Clone)]
pub struct Api {
    client: Client,
    address: SocketAddr,
    /// The header that names the asker, and what it says.
    token: Option<(&'static str, String)>,
}

impl Api {
    /// The API at an address, for a client that can reach it.
    pub const fn new(
        client: Client,
        address: SocketAddr,
        token: Option<(&'static str, String)>,
    ) -> Self {
        Self { client, address, token }
    }

    /// Where it answers.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it answers, as configuration files and variables want it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The secret that goes with each request.
    pub fn token(&self) -> Option<&str> {
        self.token.as_ref().map(|(_, secret)| secret.as_str())
    }

    /// A request, whatever its answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, LabError> {
        let body = body.map_or_else(Bytes::new, |value| Bytes::from(value.to_string()));
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(header::HOST, self.address.to_string());
        if let Some((name, secret)) = &self.token {
            request = request.header(*name, secret);
        }
        self.client.exchange(self.address, request, body).await
    }

    /// A request whose answer must be a success; what is no JSON is null.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, LabError> {
        let answer = self.send(method.clone(), path, body.as_ref()).await?;
        if answer.status.is_success() {
            return Ok(serde_json::from_slice(&answer.body).unwrap_or(Value::Null));
        }
        Err(LabError::Refused {
            request: format!("{method} {}{path}", self.url()),
            status: answer.status.as_u16(),
            body: answer.text(),
        })
    }

    /// Reads.
    pub async fn get(&self, path: &str) -> Result<Value, LabError> {
        self.call(Method::GET, path, None).await
    }
}
