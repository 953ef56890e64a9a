//! One connection of the receiver.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Buf as _, BytesMut};
use rmpv::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::message::{self, Message, Next};
use super::{Ack, Behaviour, Keep, State, handshake};

const READ_BYTES: usize = 256 * 1024;

/// What a chunk led to.
enum Verdict {
    /// Taken; these bytes are sent, in as many writes.
    Taken(Vec<Vec<u8>>),
    /// The connection is closed.
    Close,
}

/// Serves a client until either side ends the connection.
pub(super) async fn serve(mut client: TcpStream, state: Arc<State>) {
    // A client that is gone meanwhile ends the connection, as its closing does.
    serve_until_error(&mut client, &state).await.ok();
}

async fn serve_until_error(client: &mut TcpStream, state: &State) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    if state.behaviour().security.is_some() && !shake_hands(client, &mut buffer, state).await? {
        return client.shutdown().await;
    }
    let (mut taken, mut unacked) = (0, VecDeque::new());
    loop {
        let behaviour = state.behaviour();
        let length = match message::next(&buffer) {
            Next::Partial => {
                read(client, &mut buffer, &behaviour).await?;
                continue;
            }
            Next::Bad(why) => return Err(std::io::Error::other(why)),
            Next::Message(message, length) => {
                sleep(behaviour.delay).await;
                match take(&message, &behaviour, state, &mut taken, &mut unacked) {
                    Verdict::Close => return client.shutdown().await,
                    Verdict::Taken(writes) => {
                        for bytes in writes {
                            client.write_all(&bytes).await?;
                        }
                    }
                }
                length
            }
        };
        buffer.advance(length);
        if !behaviour.keepalive {
            return client.shutdown().await;
        }
    }
}

async fn shake_hands(
    client: &mut TcpStream,
    buffer: &mut BytesMut,
    state: &State,
) -> std::io::Result<bool> {
    let behaviour = state.behaviour();
    let Some(security) = &behaviour.security else { return Ok(true) };
    client.write_all(&handshake::helo(behaviour.keepalive)).await?;
    loop {
        read(client, buffer, &behaviour).await?;
        let mut rest = &buffer[..];
        if let Ok(ping) = rmpv::decode::read_value(&mut rest) {
            let length = buffer.len() - rest.len();
            buffer.advance(length);
            let (pong, is_welcome) = handshake::pong(security, &ping);
            client.write_all(&pong).await?;
            return Ok(is_welcome);
        }
    }
}

async fn read(
    client: &mut TcpStream,
    buffer: &mut BytesMut,
    behaviour: &Behaviour,
) -> std::io::Result<()> {
    let read = match behaviour.bytes_per_second {
        None => {
            buffer.reserve(READ_BYTES);
            client.read_buf(buffer).await?
        }
        Some(rate) => {
            let mut piece = vec![0; (rate / 50).max(1)];
            let count = client.read(&mut piece).await?;
            buffer.extend_from_slice(piece.get(..count).unwrap_or_default());
            sleep(Duration::from_millis(20)).await;
            count
        }
    };
    if read == 0 { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len().max(1)).any(|window| window == needle)
}

/// Counts a chunk, unless it is refused or passed over, and decides what is acknowledged.
fn take(
    message: &Message<'_>,
    behaviour: &Behaviour,
    state: &State,
    taken: &mut usize,
    unacked: &mut VecDeque<String>,
) -> Verdict {
    let looks_inside = behaviour.keep != Keep::Numbers
        || behaviour.refuse.is_some()
        || behaviour.most_bytes.is_some();
    let entries = if looks_inside { message.entries().ok() } else { None };
    let entries = entries.as_deref().unwrap_or_default();
    let is_refused = behaviour.refuse.as_ref().is_some_and(|needle| contains(entries, needle));
    if behaviour.refuses_all || is_refused {
        return Verdict::Close;
    }
    if behaviour.most_bytes.is_some_and(|most| entries.len() > most) {
        return Verdict::Taken(Vec::new());
    }
    let ids = if behaviour.keep == Keep::Ids {
        match message::ids(entries, &behaviour.id_field) {
            Some(ids) => ids,
            None => return Verdict::Close,
        }
    } else {
        Vec::new()
    };
    if behaviour.keep == Keep::Ages {
        let now = now_ns();
        let times = message::times(entries).into_iter();
        state.ages().extend(times.map(|time| now.saturating_sub(time)));
    }
    count(message, ids, *taken == 0, state);
    *taken += 1;
    let Some(chunk) = message.chunk else { return Verdict::Taken(Vec::new()) };
    match behaviour.ack {
        Ack::EachChunk => Verdict::Taken(vec![ack(chunk)]),
        Ack::Never => Verdict::Taken(Vec::new()),
        Ack::Bytewise => Verdict::Taken(ack(chunk).chunks(1).map(<[u8]>::to_vec).collect()),
        Ack::CutAfter(most) if *taken > most => Verdict::Close,
        Ack::CutAfter(_) => Verdict::Taken(vec![ack(chunk)]),
        Ack::Together(count) => {
            unacked.push_front(chunk.to_owned());
            if unacked.len() < count {
                return Verdict::Taken(Vec::new());
            }
            let mut all = ack("nobody sent this");
            all.extend(unacked.drain(..).flat_map(|chunk| ack(&chunk)));
            Verdict::Taken(vec![all])
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the age of a record is told by the machine's clock")]
fn now_ns() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

fn ack(chunk: &str) -> Vec<u8> {
    handshake::encode(&Value::Map(vec![(Value::from("ack"), Value::from(chunk))]))
}

fn count(message: &Message<'_>, ids: Vec<String>, is_first: bool, state: &State) {
    let mut received = state.received();
    received.chunks += 1;
    received.records += message.size;
    received.connections += u64::from(is_first);
    received.largest = received.largest.max(message.size);
    *received.tags.entry(message.tag.to_owned()).or_default() += message.size;
    received.compressed = message.compressed.map(str::to_owned);
    for id in ids {
        *received.ids.entry(id).or_default() += 1;
    }
}
