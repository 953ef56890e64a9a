//! One connection's side of the protocol: the handshake, then chunks in flight and their acknowledgements.
//!
//! In: what was received, what was written, and the time. Out: [`Event`]s, and when to look again. Sans-IO.
//!
//! **Overdue**: servers work in order and may be slow, so the time of a chunk begins anew with every acknowledgement of an
//! earlier one. A chunk that was *passed over*, because a later one was acknowledged, has its own time only: a server
//! that drops a chunk for its size goes on with the next ones and never says so.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::handshake::{Handshake, HandshakeError, Step};
use super::reply::{Reply, ReplyError, ReplyReader};
use super::window::{Chunk, ChunkId};

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Write this.
    Send(Vec<u8>),
    /// Chunks may be sent; whether more than one.
    Ready { keepalive: bool },
    /// The server took a chunk.
    Acked(ChunkId),
    /// The server acknowledged what is not in flight.
    UnknownAck,
}

/// A chunk that should have been acknowledged by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Overdue {
    pub(super) chunk: ChunkId,
    /// Whether a later one was acknowledged.
    pub(super) is_passed_over: bool,
}

/// Why a connection is of no more use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProtocolError {
    #[error("the handshake failed")]
    Handshake(#[from] HandshakeError),
    #[error("the server cannot be understood")]
    Reply(#[from] ReplyError),
    /// A HELO where no shared key is configured.
    #[error("the server demands a shared key: set shared_key_file")]
    KeyDemanded,
}

/// The state of a connection.
#[derive(Debug)]
pub(super) struct Connection {
    reader: ReplyReader,
    /// While it lasts.
    handshake: Option<Handshake>,
    ack_timeout: Duration,
    in_flight: VecDeque<InFlight>,
    last_ack: Option<Instant>,
}

#[derive(Debug)]
struct InFlight {
    chunk: ChunkId,
    name: String,
    /// When its last byte was handed to the kernel.
    written: Option<Instant>,
    is_passed_over: bool,
}

impl Connection {
    /// Begins; without a handshake it is ready at once.
    pub(super) fn new(
        handshake: Option<Handshake>,
        ack_timeout: Duration,
    ) -> (Self, Option<Event>) {
        let ready = handshake.is_none().then_some(Event::Ready { keepalive: true });
        let reader = ReplyReader::default();
        (Self { reader, handshake, ack_timeout, in_flight: VecDeque::new(), last_ack: None }, ready)
    }

    /// Takes bytes of the server.
    ///
    /// # Errors
    /// The connection is to be closed; events before that count.
    pub(super) fn received(
        &mut self,
        bytes: &[u8],
        now: Instant,
        events: &mut Vec<Event>,
    ) -> Result<(), ProtocolError> {
        self.reader.push(bytes);
        while let Some(reply) = self.reader.next()? {
            match (&mut self.handshake, reply) {
                (Some(handshake), reply) => match handshake.reply(reply)? {
                    Step::Send(bytes) => events.push(Event::Send(bytes)),
                    Step::Ready { keepalive } => {
                        self.handshake = None;
                        events.push(Event::Ready { keepalive });
                    }
                },
                (None, Reply::Ack(name)) => events.push(self.acked(&name, now)),
                (None, Reply::Helo(_)) => return Err(ProtocolError::KeyDemanded),
                (None, Reply::Pong(_) | Reply::Other) => {}
            }
        }
        Ok(())
    }

    fn acked(&mut self, name: &str, now: Instant) -> Event {
        let Some(place) = self.in_flight.iter().position(|sent| sent.name == name) else {
            return Event::UnknownAck;
        };
        self.last_ack = Some(now);
        for earlier in self.in_flight.iter_mut().take(place) {
            earlier.is_passed_over = true;
        }
        let chunk = self.in_flight.remove(place).map(|sent| sent.chunk);
        chunk.map_or(Event::UnknownAck, Event::Acked)
    }

    /// A chunk's first byte is about to be written.
    pub(super) fn sending(&mut self, chunk: &Chunk) {
        let (name, is_passed_over) = (chunk.name.clone(), false);
        self.in_flight.push_back(InFlight { chunk: chunk.id, name, written: None, is_passed_over });
    }

    /// A chunk's last byte was written.
    pub(super) fn sent(&mut self, chunk: ChunkId, now: Instant) {
        let sent = self.in_flight.iter_mut().find(|sent| sent.chunk == chunk);
        if let Some(sent) = sent {
            sent.written = Some(now);
        }
    }

    /// When [`Connection::overdue`] may find something.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.in_flight.iter().filter_map(|sent| self.due(sent)).min()
    }

    /// The chunk whose time is over, the earliest sent of several.
    pub(super) fn overdue(&self, now: Instant) -> Option<Overdue> {
        let late = |sent: &&InFlight| self.due(sent).is_some_and(|due| due <= now);
        let sent = self.in_flight.iter().find(late)?;
        Some(Overdue { chunk: sent.chunk, is_passed_over: sent.is_passed_over })
    }

    fn due(&self, sent: &InFlight) -> Option<Instant> {
        let written = sent.written?;
        let begin = match self.last_ack {
            Some(ack) if !sent.is_passed_over => written.max(ack),
            _ => written,
        };
        Some(begin + self.ack_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::batch::Message;
    use crate::logs::deliver::forward::window::{Bounds, Window};
    use crate::logs::deliver::msgpack::Writer;
    use crate::logs::deliver::{Parcel, ParcelId};

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn chunks(count: u32) -> Vec<Chunk> {
        let mut window = Window::new(Bounds { bytes: 100, parcels: 10, chunk_bytes: 1 }, 7);
        let ends = (1..=count).collect();
        let entries = vec![0; count as usize].into();
        let message = Message { tag: "t".into(), entries, ends };
        let parcel = Parcel { id: ParcelId { batch: 0, message: 0 }, message };
        let pieces = window.take(parcel).unwrap();
        pieces.iter().map(|piece| window.chunk(piece).unwrap()).collect()
    }

    fn ack(chunk: &Chunk) -> Vec<u8> {
        Writer::default().map(1).text("ack").text(&chunk.name).finish()
    }

    fn receive(connection: &mut Connection, bytes: &[u8], now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        connection.received(bytes, now, &mut events).unwrap();
        events
    }

    #[test]
    fn a_slow_server_has_its_time_anew_with_each_acknowledgement() {
        let now = Instant::now();
        let (mut connection, ready) = Connection::new(None, TIMEOUT);
        assert_eq!(ready, Some(Event::Ready { keepalive: true }));
        let chunks = chunks(2);
        chunks.iter().for_each(|chunk| connection.sending(chunk));
        assert_eq!(connection.overdue(now + 2 * TIMEOUT), None, "not written yet");
        chunks.iter().for_each(|chunk| connection.sent(chunk.id, now));
        let later = now + TIMEOUT / 2;
        let events = receive(&mut connection, &ack(&chunks[0]), later);
        assert_eq!(events, [Event::Acked(chunks[0].id)]);
        assert_eq!(connection.deadline(), Some(later + TIMEOUT));
        let overdue = Overdue { chunk: chunks[1].id, is_passed_over: false };
        assert_eq!(connection.overdue(later + TIMEOUT), Some(overdue));
    }

    #[test]
    fn a_chunk_that_was_passed_over_has_its_own_time_only() {
        let now = Instant::now();
        let (mut connection, _) = Connection::new(None, TIMEOUT);
        let chunks = chunks(3);
        for chunk in &chunks {
            connection.sending(chunk);
            connection.sent(chunk.id, now);
        }
        let both = [ack(&chunks[2]), ack(&chunks[1]), ack(&chunks[2])].concat();
        let events = receive(&mut connection, &both, now + TIMEOUT / 2);
        let expected = [Event::Acked(chunks[2].id), Event::Acked(chunks[1].id), Event::UnknownAck];
        assert_eq!(events, expected);
        let overdue = Overdue { chunk: chunks[0].id, is_passed_over: true };
        assert_eq!(connection.overdue(now + TIMEOUT), Some(overdue));
    }
}
