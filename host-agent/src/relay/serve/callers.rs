//! How many callers the relay answers at once.
//!
//! In: requests for metrics. Out: their answers, or 503 with `Retry-After` for those beyond the limit.
//! Each caller may cost a scrape of every target, a merge and an answer as large as all of them together.
//!
//! **Invariants**: a caller has its place until its answer is written, or it has gone away; nobody waits for a place: whoever
//! scrapes has little time, and learns at once why it gets nothing. The pages of targets need no place.
//!
//! **Absent**: who a caller is; how long it may take to read (`caller.rs`).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answers::accepted;
use crate::relay::metrics::RelayMetrics;

/// A scrape is shared for a second: whoever comes again then costs the targets one more at the most.
const AGAIN: HeaderValue = HeaderValue::from_static("1");

/// What is handed to the connection at a time, so that it says when a caller stops reading.
const FRAME: usize = 64 << 10;

/// The places of callers.
#[derive(Debug, Clone)]
pub(super) struct Callers {
    places: Arc<Semaphore>,
    most: usize,
    metrics: Arc<RelayMetrics>,
}

/// One caller's place, given back when it is dropped.
#[derive(Debug)]
struct Place {
    metrics: Arc<RelayMetrics>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.metrics.callers.dec();
    }
}

impl Callers {
    /// For so many at once.
    pub(super) fn new(most: usize, metrics: Arc<RelayMetrics>) -> Self {
        Self { places: Arc::new(Semaphore::new(most)), most, metrics }
    }

    fn place(&self) -> Option<Place> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        self.metrics.callers.inc();
        Some(Place { metrics: Arc::clone(&self.metrics), _permit: permit })
    }
}

/// Answers a request if there is a place for it.
pub(super) async fn within_limit(
    State(callers): State<Callers>,
    request: Request,
    next: Next,
) -> Response {
    let Some(place) = callers.place() else {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        callers.metrics.note_request(accepted(request.headers()).name(), status.as_u16());
        let most = callers.most;
        let body = format!("{most} callers are being answered (relay.callers): try again later\n");
        return (status, [(RETRY_AFTER, AGAIN)], body).into_response();
    };
    let answer = next.run(request).await;
    answer.map(|body| Body::new(Placed { body, rest: Bytes::new(), _place: place }))
}

/// A body that keeps its caller's place until the connection has taken the last of it.
#[derive(Debug)]
struct Placed {
    body: Body,
    rest: Bytes,
    _place: Place,
}

impl HttpBody for Placed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context))
                .map(|frame| frame.map(Frame::into_data))
            {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let size = self.rest.len().min(FRAME);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(size)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
