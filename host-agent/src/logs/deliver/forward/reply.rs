//! What a server says: HELO, PONG and acknowledgements.
//!
//! In: bytes as they come, cut anywhere. Out: whole [`Reply`]s. Forward protocol v1, "Server → client" messages.
//!
//! **Invariants**: a server cannot make this hold more than [`MOST`] bytes.

use crate::logs::deliver::msgpack::{self, ReadError, Token};

/// Longest message that a server may send; acknowledgements have some 40 bytes.
const MOST: usize = 64 * 1024;

/// One message of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// The handshake's beginning.
    Helo(Helo),
    /// The handshake's end.
    Pong(Pong),
    /// A chunk was taken.
    Ack(String),
    /// Something that the protocol does not know; it is passed over.
    Other,
}

/// `["HELO", {nonce, auth, keepalive}]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Helo {
    /// Goes into the shared key's digests.
    pub(super) nonce: Vec<u8>,
    /// Goes into the user's digest; empty: no user is demanded.
    pub(super) auth: Vec<u8>,
    /// Whether the connection may carry more than one message.
    pub(super) keepalive: bool,
}

/// `["PONG", accepted, reason, host, digest]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pong {
    pub(super) is_accepted: bool,
    pub(super) reason: String,
    pub(super) host: String,
    pub(super) digest: String,
}

/// A server that does not speak the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReplyError {
    /// No MessagePack.
    #[error(
        "the server answered something else than MessagePack: does the port speak Forward, with or without TLS?"
    )]
    NotMessagePack,
    /// A message without end.
    #[error("the server's answer exceeds {MOST} bytes: does the port speak Forward?")]
    TooLong,
}

/// Puts messages together.
#[derive(Debug, Default)]
pub(super) struct ReplyReader {
    bytes: Vec<u8>,
    read: usize,
}

impl ReplyReader {
    /// Takes what came.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.read);
        self.read = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub(super) fn next(&mut self) -> Result<Option<Reply>, ReplyError> {
        let message = self.bytes.get(self.read..).unwrap_or_default();
        let mut rest = message;
        match msgpack::skip(&mut rest) {
            Ok(()) => {}
            Err(ReadError::Short) if message.len() <= MOST => return Ok(None),
            Err(ReadError::Short) => return Err(ReplyError::TooLong),
            Err(ReadError::Invalid) => return Err(ReplyError::NotMessagePack),
        }
        let length = message.len() - rest.len();
        let reply = parse(message).unwrap_or(Reply::Other);
        self.read += length;
        Ok(Some(reply))
    }
}

/// `None` when the message is whole but none of ours.
fn parse(message: &[u8]) -> Option<Reply> {
    let mut rest = message;
    match msgpack::next(&mut rest).ok()? {
        Token::Map(_) => {
            let ack = field(message, "ack")?;
            Some(Reply::Ack(text(ack)?))
        }
        Token::List(2) if text(msgpack::next(&mut rest).ok()?)? == "HELO" => {
            let bytes = |name| match field(rest, name) {
                Some(Token::Text(bytes) | Token::Binary(bytes)) => bytes.to_vec(),
                _ => Vec::new(),
            };
            let keepalive = field(rest, "keepalive") != Some(Token::Bool(false));
            Some(Reply::Helo(Helo { nonce: bytes("nonce"), auth: bytes("auth"), keepalive }))
        }
        Token::List(5) if text(msgpack::next(&mut rest).ok()?)? == "PONG" => {
            let is_accepted = msgpack::next(&mut rest).ok()? == Token::Bool(true);
            let mut word =
                || msgpack::next(&mut rest).ok().map(|token| text(token).unwrap_or_default());
            Some(Reply::Pong(Pong { is_accepted, reason: word()?, host: word()?, digest: word()? }))
        }
        _ => None,
    }
}

/// The value of a map's field, when it is no list or map.
fn field<'a>(mut map: &'a [u8], name: &str) -> Option<Token<'a>> {
    let Ok(Token::Map(count)) = msgpack::next(&mut map) else { return None };
    for _ in 0..count {
        let own = msgpack::next(&mut map).ok()?;
        if own == Token::Text(name.as_bytes()) {
            return msgpack::next(&mut map).ok();
        }
        msgpack::skip(&mut map).ok()?;
    }
    None
}

fn text(token: Token<'_>) -> Option<String> {
    match token {
        Token::Text(bytes) | Token::Binary(bytes) => {
            Some(String::from_utf8_lossy(bytes).into_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rmp::encode;

    fn ack(name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode::write_map_len(&mut bytes, 1).unwrap();
        encode::write_str(&mut bytes, "ack").unwrap();
        encode::write_str(&mut bytes, name).unwrap();
        bytes
    }

    #[test]
    fn acknowledgements_may_come_together_or_in_pieces() {
        let both = [ack("one"), ack("two")].concat();
        for cut in 0..=both.len() {
            let mut reader = ReplyReader::default();
            let mut replies = Vec::new();
            for part in [&both[..cut], &both[cut..]] {
                reader.push(part);
                while let Some(reply) = reader.next().unwrap() {
                    replies.push(reply);
                }
            }
            assert_eq!(replies, ["one", "two"].map(|name| Reply::Ack(name.to_owned())), "{cut}");
        }
    }

    #[test]
    fn a_handshake_may_use_text_or_bytes() {
        let mut bytes = Vec::new();
        encode::write_array_len(&mut bytes, 2).unwrap();
        encode::write_str(&mut bytes, "HELO").unwrap();
        encode::write_map_len(&mut bytes, 3).unwrap();
        encode::write_str(&mut bytes, "nonce").unwrap();
        encode::write_bin(&mut bytes, b"\xff").unwrap();
        encode::write_str(&mut bytes, "auth").unwrap();
        encode::write_str(&mut bytes, "salt").unwrap();
        encode::write_str(&mut bytes, "keepalive").unwrap();
        encode::write_bool(&mut bytes, false).unwrap();
        let mut reader = ReplyReader::default();
        reader.push(&bytes);
        let helo = Helo { nonce: b"\xff".to_vec(), auth: b"salt".to_vec(), keepalive: false };
        assert_eq!(reader.next(), Ok(Some(Reply::Helo(helo))));
        assert_eq!(reader.next(), Ok(None));
    }

    #[test]
    fn a_server_of_another_protocol_is_recognised() {
        let mut reader = ReplyReader::default();
        reader.push(b"\xc1");
        assert_eq!(reader.next(), Err(ReplyError::NotMessagePack));
        let mut reader = ReplyReader::default();
        reader.push(b"\xdb\xff\xff\xff\xff");
        reader.push(&vec![0; MOST]);
        assert_eq!(reader.next(), Err(ReplyError::TooLong));
        let mut reader = ReplyReader::default();
        reader.push(b"HTTP");
        assert_eq!(reader.next(), Ok(Some(Reply::Other)), "numbers, which mean nothing here");
    }
}
