//! The services beside discovery, health and reflection, on the same port.
//!
//! In: requests that are no discovery streams. Out: their answers, by tonic's own services.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame};
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::service::Routes;
use tower::ServiceExt as _;

/// tonic's services; clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Services(pub Routes);

impl Services {
    /// Answers one request.
    pub(super) fn answer(
        &self,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
    ) -> BoxFuture<'static, ()> {
        let routes = self.0.clone();
        async move {
            // A peer that has gone needs no answer, and there is nobody else to tell.
            let Ok(response) = routes.oneshot(request.map(RequestBody)).await;
            drop(relay(response, respond).await);
        }
        .boxed()
    }
}

async fn relay(
    response: Response<tonic::body::Body>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let (head, mut body) = response.into_parts();
    let is_over = body.is_end_stream();
    let mut stream = respond.send_response(Response::from_parts(head, ()), is_over)?;
    if is_over {
        return Ok(());
    }
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            stream.send_reset(Reason::INTERNAL_ERROR);
            return Ok(());
        };
        match frame.into_data() {
            Ok(data) => send(&mut stream, data).await?,
            Err(frame) => return stream.send_trailers(frame.into_trailers().unwrap_or_default()),
        }
    }
    stream.send_trailers(HeaderMap::new())
}

/// Sends as much at a time as the peer has room for.
async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), h2::Error> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        match std::future::poll_fn(|context| stream.poll_capacity(context)).await {
            Some(room) => stream.send_data(data.split_to(room?.min(data.len())), false)?,
            None => return Err(Reason::CANCEL.into()),
        }
    }
    Ok(())
}

/// A request's body in the form that tonic's services read.
struct RequestBody(RecvStream);

impl Body for RequestBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        match ready!(self.0.poll_data(context)) {
            Some(Ok(data)) => {
                self.0.flow_control().release_capacity(data.len())?;
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => {
                let trailers = ready!(self.0.poll_trailers(context))?;
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}
