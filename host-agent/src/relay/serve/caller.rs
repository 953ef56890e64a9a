//! A caller's connection, which ends when an answer is not taken in time.
//!
//! In: the stream, and the time by which the answer that is being written is to be taken. Out: the same stream, which fails once
//! it would wait beyond that. What counts is the whole answer: a caller that reads, but slowly, would otherwise keep its place, and
//! the memory of its answer, for as long as it likes.
//!
//! **Invariants**: a connection on which nothing waits to be written is left alone.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// When the answer on a connection is to be taken; clones say and see the same.
#[derive(Debug, Clone, Default)]
pub(super) struct TakenBy(Arc<Mutex<Option<Instant>>>);

impl TakenBy {
    /// Says it for the answer that comes next.
    pub(super) fn set(&self, at: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    fn get(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection.
#[derive(Debug)]
pub(super) struct Caller {
    stream: TcpStream,
    taken_by: TakenBy,
    sleep: Pin<Box<Sleep>>,
    /// Answers that were cut off.
    cut: Counter,
}

impl Caller {
    pub(super) fn new(stream: TcpStream, taken_by: TakenBy, cut: Counter) -> Self {
        Self { stream, taken_by, sleep: Box::pin(sleep_until(Instant::now())), cut }
    }

    /// Nothing more can be written now: an error once that is too late.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(at) = self.taken_by.get() else { return Poll::Pending };
        if self.sleep.deadline() != at {
            self.sleep.as_mut().reset(at);
        }
        ready!(self.sleep.as_mut().poll(context));
        self.cut.inc();
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the answer was not taken in time",
        )))
    }
}

impl AsyncWrite for Caller {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Pending => self.wait(context),
            written @ Poll::Ready(_) => written,
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write_vectored(context, parts) {
            Poll::Pending => self.wait(context),
            written @ Poll::Ready(_) => written,
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl AsyncRead for Caller {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}
