//! Envoy's question "may this request pass?", answered for routes that ask for more than a token.
//!
//! ```text
//! CheckRequest ─▶ question ─▶ decide(keys, time) ─▶ answer ─▶ CheckResponse
//! ```
//!
//! In: the request's head, what Envoy found out about its tokens, and what its route asks for, all in one message.
//! Out: pass, with headers that tell the service who calls; or a status and a sentence. `app` mounts it on the
//! application's port.
//!
//! **Invariants**: nothing passes that was not proven: a question that cannot be read is refused; no IO; a body never
//! holds a key or token.

use std::sync::Arc;

use envoy_types::pb::envoy::service::auth::v3::authorization_server::{
    Authorization, AuthorizationServer,
};
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::keys::KeyTable;

mod answer;
mod claims;
mod decide;
mod metrics;
mod question;

pub use metrics::AuthzMetrics;

/// The service `envoy.service.auth.v3.Authorization`.
#[derive(Debug)]
pub struct Authz {
    /// The keys.
    pub keys: watch::Receiver<Arc<KeyTable>>,
    /// Counts what is decided.
    pub metrics: AuthzMetrics,
    /// Seconds since the epoch.
    pub clock: fn() -> u64,
}

impl Authz {
    /// As a gRPC service.
    pub fn into_server(self) -> AuthorizationServer<Self> {
        AuthorizationServer::new(self)
    }

    fn judge(&self, request: CheckRequest) -> CheckResponse {
        let keys = self.keys.borrow().clone();
        let verdict = match question::Question::read(request) {
            Ok(question) => decide::decide(&question, &keys, (self.clock)()),
            Err(reason) => decide::unreadable(&reason),
        };
        self.metrics.count(&verdict);
        answer::answer(verdict)
    }
}

#[tonic::async_trait]
impl Authorization for Authz {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        Ok(Response::new(self.judge(request.into_inner())))
    }
}

#[cfg(test)]
mod tests;
