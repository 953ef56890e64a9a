//! gRPC over one HTTP/2 stream: messages in, messages out, a status at the end.
//!
//! In: a request's body and its answering half, from [`super::http2`]. Out: [`Messages`], [`Answer`].
//!
//! **Invariants**: a request message is never copied when one DATA frame holds it whole; what was read is given back to
//! the peer's window at once; nothing is written before the peer has room for it. No message is compressed.
//!
//! Source: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use tonic::Status;
use tonic::codegen::http::{HeaderMap, HeaderValue, Response, header};
use tonic::metadata::GRPC_CONTENT_TYPE;

use crate::xds::wire::{DiscoveryRequest, PREFIX_LEN};

/// The requests of one stream.
#[derive(Debug)]
pub(super) struct Messages<R> {
    body: RecvStream,
    /// What has been read and is no whole message yet.
    rest: BytesMut,
    limit: usize,
    kind: PhantomData<fn() -> R>,
}

/// Why there are no more requests, other than their end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReadError {
    /// The peer broke off: nobody is there to be told.
    #[error("the peer broke off")]
    Gone,
    /// It sent what is no request.
    #[error("malformed request: {0}")]
    Malformed(String),
    /// It sent more than a request may have.
    #[error("oversized request: {length} bytes exceed {limit}")]
    Oversized {
        /// Bytes of the request.
        length: usize,
        /// Bytes that it may have.
        limit: usize,
    },
}

impl<R: DiscoveryRequest> Messages<R> {
    /// The messages of this body, each of at most `limit` bytes.
    pub(super) fn new(body: RecvStream, limit: usize) -> Self {
        Self { body, rest: BytesMut::new(), limit, kind: PhantomData }
    }

    /// The next message; `None`: the peer has said all it wants to. May be dropped and called again at any time.
    ///
    /// # Errors
    /// No further message can be read.
    pub(super) async fn next(&mut self) -> Result<Option<R>, ReadError> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// [`Self::next`], polled.
    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<R>, ReadError>> {
        loop {
            if let Some(length) = self.length_of(&self.rest)?
                && self.rest.len() >= PREFIX_LEN + length
            {
                let mut message = self.rest.split_to(PREFIX_LEN + length).freeze();
                if self.rest.is_empty() {
                    // A stream at rest keeps no buffer.
                    self.rest = BytesMut::new();
                }
                message.advance(PREFIX_LEN);
                return Poll::Ready(decode(message).map(Some));
            }
            let Some(chunk) = ready!(self.poll_read(context))? else {
                return Poll::Ready(match self.rest.len() {
                    0 => Ok(None),
                    length => Err(ReadError::Malformed(format!("it ends after {length} bytes"))),
                });
            };
            if self.rest.is_empty()
                && self.length_of(&chunk)? == chunk.len().checked_sub(PREFIX_LEN)
            {
                return Poll::Ready(decode(chunk.slice(PREFIX_LEN..)).map(Some));
            }
            self.rest.extend_from_slice(&chunk);
        }
    }

    /// The length of the message that begins here; `None` while its prefix is not there.
    fn length_of(&self, bytes: &[u8]) -> Result<Option<usize>, ReadError> {
        let Some([compressed, length @ ..]) = bytes.first_chunk::<PREFIX_LEN>() else {
            return Ok(None);
        };
        if *compressed != 0 {
            return Err(ReadError::Malformed("it is compressed".to_owned()));
        }
        let length = u32::from_be_bytes(*length) as usize;
        if length > self.limit {
            return Err(ReadError::Oversized { length, limit: self.limit });
        }
        Ok(Some(length))
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, ReadError>> {
        let Some(chunk) = ready!(self.body.poll_data(context)) else {
            return Poll::Ready(Ok(None));
        };
        let chunk = chunk.map_err(|_| ReadError::Gone)?;
        let released = self.body.flow_control().release_capacity(chunk.len());
        released.map_err(|_| ReadError::Gone)?;
        Poll::Ready(Ok(Some(chunk)))
    }
}

fn decode<R: DiscoveryRequest>(message: Bytes) -> Result<R, ReadError> {
    R::decode(message).map_err(|error| ReadError::Malformed(error.to_string()))
}

impl ReadError {
    /// What the peer is told.
    pub(super) fn status(&self) -> Status {
        match self {
            Self::Gone => Status::cancelled(self.to_string()),
            Self::Malformed(_) => Status::invalid_argument(self.to_string()),
            Self::Oversized { .. } => Status::resource_exhausted(self.to_string()),
        }
    }
}

/// The peer does not take any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// The answering half of a stream whose head has been sent.
#[derive(Debug)]
pub(super) struct Answer(SendStream<Bytes>);

impl Answer {
    /// Sends the head.
    pub(super) fn begin(mut respond: SendResponse<Bytes>) -> Result<Self, Gone> {
        let mut head = Response::new(());
        head.headers_mut().insert(header::CONTENT_TYPE, GRPC_CONTENT_TYPE);
        respond.send_response(head, false).map(Self).map_err(|_| Gone)
    }

    /// Answers with nothing but a status.
    pub(super) fn refuse(mut respond: SendResponse<Bytes>, status: Status) {
        // A peer that has gone needs no answer.
        drop(respond.send_response(status.into_http::<()>(), true));
    }

    /// Waits until the peer has read what was sent before, as far as its window tells.
    pub(super) async fn ready(&mut self) -> Result<(), Gone> {
        self.0.reserve_capacity(1);
        while self.0.capacity() == 0 {
            match poll_fn(|context| self.0.poll_capacity(context)).await {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(Gone),
            }
        }
        Ok(())
    }

    /// Sends a message, its prefix included; what exceeds the peer's window waits in the transport.
    pub(super) fn send(&mut self, message: Bytes) -> Result<(), Gone> {
        self.0.send_data(message, false).map_err(|_| Gone)
    }

    /// Ends the stream.
    pub(super) fn end(mut self, status: &Status) {
        if self.0.send_trailers(trailers(status)).is_err() {
            self.0.send_reset(Reason::CANCEL);
        }
    }
}

fn trailers(status: &Status) -> HeaderMap<HeaderValue> {
    let mut map = HeaderMap::with_capacity(2);
    // Only a message can fail to be a header: the code alone cannot.
    if status.add_header(&mut map).is_err() {
        return trailers(&Status::new(status.code(), ""));
    }
    map
}
