//! What is done with a request between its arrival and its answer: shaped, then queued for each back end that it is for.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;

use super::metrics::TraceMetrics;
use super::queue::{Piece, Refused};
use super::receive::{Accepted, Refusal, Request};
use super::send::BackEnd;
use super::shape::{Shape, Shaped};
use super::tail::Tail;

/// Nanoseconds since the epoch.
pub type Clock = fn() -> u64;

/// See the module.
#[derive(Debug)]
pub struct Pipeline {
    /// What spans look like.
    pub shape: Shape,
    /// Which traces are passed on.
    pub tail: Option<Arc<Tail>>,
    /// Where spans go.
    pub back_ends: Arc<[Arc<BackEnd>]>,
    /// What is counted.
    pub metrics: TraceMetrics,
    /// The time.
    pub clock: Clock,
}

impl Pipeline {
    /// Takes a request; when this returns `Ok`, its spans are queued.
    ///
    /// # Errors
    /// When it cannot be read, or no queue takes it.
    pub async fn accept(&self, request: Request) -> Result<Accepted, Refusal> {
        let sender = &request.sender;
        let shaped = self
            .shape
            .shape(&request.message, &sender.origin, (self.clock)())
            .map_err(|error| Refusal::Malformed(error.to_string()))?;
        let label = &sender.label;
        self.metrics.received(label, request.protocol, shaped.spans + shaped.rejects());
        for (reject, spans) in &shaped.rejected {
            self.metrics.rejected(label, *reject, *spans);
        }
        self.metrics.changed(label, shaped.changed, shaped.backwards);
        let mut accepted = Accepted::default();
        for (reject, spans) in &shaped.rejected {
            accepted.reject(*reject, *spans);
        }
        if shaped.spans > 0 {
            self.queue(&request, shaped).await?;
        }
        Ok(accepted)
    }

    async fn queue(&self, request: &Request, shaped: Shaped) -> Result<(), Refusal> {
        let sender = &request.sender;
        if let Some(tail) = &self.tail {
            tail.observe(&shaped.facts);
        }
        let piece = Piece {
            lane: Arc::clone(&sender.name),
            system: sender.system.clone(),
            spans: shaped.spans,
            bytes: Bytes::from(shaped.bytes),
        };
        let wanted: Vec<_> = self
            .back_ends
            .iter()
            .filter(|back_end| back_end.is_for(sender.system.as_deref()))
            .collect();
        if wanted.is_empty() {
            self.metrics.unrouted(&sender.label, shaped.spans);
            return Ok(());
        }
        let offers = wanted.iter().map(|back_end| back_end.queue.offer(piece.clone()));
        let outcomes = join_all(offers).await;
        let refusals: Vec<_> = wanted
            .iter()
            .zip(outcomes)
            .filter_map(|(back_end, outcome)| Some((back_end, outcome.err()?)))
            .collect();
        if refusals.len() == wanted.len() {
            let is_full = refusals.iter().any(|(_, refused)| *refused == Refused::Full);
            return Err(if is_full { Refusal::Full } else { Refusal::Disk });
        }
        // One back end that is away must not stop the others: what it cannot keep is lost for it alone, and counted.
        for (back_end, refused) in refusals {
            let reason = match refused {
                Refused::Full => "queue_full",
                Refused::Disk => "disk",
            };
            self.metrics.lost(&back_end.name, &sender.label, reason, shaped.spans.into());
        }
        Ok(())
    }
}
