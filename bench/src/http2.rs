//! One gRPC stream on one HTTP/2 connection, without IO.
//!
//! In: bytes that the socket gave, messages to send. Out: bytes for the socket, messages received.
//! Called by `fleet`, once for each simulated Envoy.
//!
//! **Invariants**: stream 1 only; what is received is handed on at once, so that windows never fill; what is sent
//! honours the server's windows. A connection at rest keeps a few hundred bytes.
//! Deliberately absent: reading of header blocks, whose compression nothing here needs.

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const WINDOW: u32 = 16 << 20;
const DEFAULT_WINDOW: i64 = 65_535;
const FRAME_MAX: usize = 16_384;
const STREAM: u32 = 1;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// Why a stream is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The server ended the stream.
    #[error("the server ended the stream (it may not be ready)")]
    Stream,
    /// The server reset the stream or told the connection to go away.
    #[error("the server closed the stream with HTTP/2 error {0}")]
    Reset(u32),
    /// Bytes that are no HTTP/2.
    #[error("the server sent a broken HTTP/2 frame")]
    Broken,
}

/// The stream's state.
#[derive(Debug)]
pub struct GrpcStream {
    /// What the socket gave and is no whole frame yet.
    received: Vec<u8>,
    /// DATA that is no whole message yet.
    body: Vec<u8>,
    /// Frames for the socket.
    out: Vec<u8>,
    /// Messages that wait for the server's windows.
    unsent: Vec<u8>,
    stream_window: i64,
    connection_window: i64,
    initial_window: i64,
    /// Bytes received since the server was last given room.
    consumed: u32,
    /// Whether the server accepted the stream.
    pub is_accepted: bool,
}

impl GrpcStream {
    /// A stream of this method; its first bytes are ready to be sent.
    pub fn open(authority: &str, path: &str) -> Self {
        let mut stream = Self {
            received: Vec::new(),
            body: Vec::new(),
            out: PREFACE.to_vec(),
            unsent: Vec::new(),
            stream_window: DEFAULT_WINDOW,
            connection_window: DEFAULT_WINDOW,
            initial_window: DEFAULT_WINDOW,
            consumed: 0,
            is_accepted: false,
        };
        // ENABLE_PUSH = 0, INITIAL_WINDOW_SIZE: an Envoy's.
        let mut settings = vec![0, 2, 0, 0, 0, 0, 0, 4];
        settings.extend(WINDOW.to_be_bytes());
        stream.frame(SETTINGS, 0, 0, &settings);
        let more = WINDOW - 65_535;
        stream.frame(WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
        stream.frame(HEADERS, END_HEADERS, STREAM, &header_block(authority, path));
        stream
    }

    /// Queues a message.
    pub fn send(&mut self, message: &[u8]) {
        self.unsent.push(0);
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        self.unsent.extend(length.to_be_bytes());
        self.unsent.extend_from_slice(message);
        self.pump();
    }

    /// Bytes for the socket; [`Self::sent`] tells how many of them it took.
    pub fn output(&self) -> &[u8] {
        &self.out
    }

    /// The socket took so many bytes.
    pub fn sent(&mut self, count: usize) {
        self.out.drain(..count);
        if self.out.is_empty() {
            self.out.shrink_to(256);
        }
    }

    /// Takes in what the socket gave and hands each whole message on.
    ///
    /// # Errors
    /// The stream is over.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        take: &mut impl FnMut(&mut Self, &[u8]),
    ) -> Result<(), Ended> {
        let mut pending = std::mem::take(&mut self.received);
        pending.extend_from_slice(bytes);
        let mut rest = pending.as_slice();
        while let Some((head, after)) = rest.split_at_checked(9) {
            let [a, b, c, kind, flags, stream @ ..] = head else { return Err(Ended::Broken) };
            let (kind, flags, stream) = (*kind, *flags, number(stream));
            let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            let Some((payload, after)) = after.split_at_checked(length) else { break };
            rest = after;
            if kind == WINDOW_UPDATE {
                self.widen(stream, i64::from(number(payload)));
            } else {
                self.take_frame(kind, flags, payload, take)?;
            }
        }
        if !rest.is_empty() {
            self.received = rest.to_vec();
        }
        self.pump();
        Ok(())
    }

    fn take_frame(
        &mut self,
        kind: u8,
        flags: u8,
        payload: &[u8],
        take: &mut impl FnMut(&mut Self, &[u8]),
    ) -> Result<(), Ended> {
        match kind {
            DATA => {
                let padding = if flags & PADDED == 0 { None } else { payload.first() };
                let data = match padding {
                    None => payload,
                    Some(count) => payload
                        .get(1..payload.len().saturating_sub(usize::from(*count)))
                        .ok_or(Ended::Broken)?,
                };
                self.take_data(data, take);
                self.give_room(payload.len());
            }
            HEADERS => self.is_accepted = true,
            RST_STREAM => return Err(Ended::Reset(number(payload))),
            GOAWAY => return Err(Ended::Reset(number(payload.get(4..).unwrap_or_default()))),
            SETTINGS if flags & ACK == 0 => {
                self.take_settings(payload);
                self.frame(SETTINGS, ACK, 0, &[]);
            }
            PING if flags & ACK == 0 => self.frame(PING, ACK, 0, payload),
            _ => {}
        }
        if flags & END_STREAM != 0 && matches!(kind, DATA | HEADERS) {
            return Err(Ended::Stream);
        }
        Ok(())
    }

    fn take_data(&mut self, data: &[u8], take: &mut impl FnMut(&mut Self, &[u8])) {
        if self.body.is_empty() {
            let rest = self.take_messages(data, take);
            self.body.extend_from_slice(rest);
            return;
        }
        let mut body = std::mem::take(&mut self.body);
        body.extend_from_slice(data);
        let rest = self.take_messages(&body, take);
        self.body = rest.to_vec();
    }

    /// Hands on whole messages; returns what is left.
    fn take_messages<'a>(
        &mut self,
        mut bytes: &'a [u8],
        take: &mut impl FnMut(&mut Self, &[u8]),
    ) -> &'a [u8] {
        while let Some((head, after)) = bytes.split_at_checked(5) {
            let length = number(head.get(1..).unwrap_or_default()) as usize;
            let Some((message, rest)) = after.split_at_checked(length) else { break };
            take(self, message);
            bytes = rest;
        }
        bytes
    }

    fn give_room(&mut self, count: usize) {
        self.consumed += u32::try_from(count).unwrap_or(u32::MAX);
        if self.consumed >= WINDOW / 4 {
            let room = std::mem::take(&mut self.consumed).to_be_bytes();
            self.frame(WINDOW_UPDATE, 0, 0, &room);
            self.frame(WINDOW_UPDATE, 0, STREAM, &room);
        }
    }

    fn widen(&mut self, stream: u32, room: i64) {
        if stream == 0 {
            self.connection_window += room;
        } else {
            self.stream_window += room;
        }
    }

    fn take_settings(&mut self, payload: &[u8]) {
        for setting in payload.chunks_exact(6) {
            if setting.starts_with(&[0, 4]) {
                let window = i64::from(number(setting.get(2..).unwrap_or_default()));
                self.stream_window += window - self.initial_window;
                self.initial_window = window;
            }
        }
    }

    /// Sends what the windows allow.
    fn pump(&mut self) {
        while !self.unsent.is_empty() {
            let room = self.stream_window.min(self.connection_window);
            let room = usize::try_from(room).unwrap_or(0);
            let length = room.min(FRAME_MAX).min(self.unsent.len());
            if length == 0 {
                return;
            }
            let chunk: Vec<u8> = self.unsent.drain(..length).collect();
            self.frame(DATA, 0, STREAM, &chunk);
            self.stream_window -= i64::try_from(length).unwrap_or(0);
            self.connection_window -= i64::try_from(length).unwrap_or(0);
        }
        self.unsent.shrink_to(0);
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let [_, a, b, c] = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
        self.out.extend([a, b, c, kind, flags]);
        self.out.extend(stream.to_be_bytes());
        self.out.extend_from_slice(payload);
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// Headers in HPACK, without its dynamic table and without Huffman coding.
fn header_block(authority: &str, path: &str) -> Vec<u8> {
    // `:method: POST` and `:scheme: http` are entries 3 and 6 of the static table.
    let mut block = vec![0x83, 0x86];
    let mut literal = |name: &[u8], value: &str| {
        block.extend_from_slice(name);
        block.push(u8::try_from(value.len()).unwrap_or(0));
        block.extend_from_slice(value.as_bytes());
    };
    // Names by index: `:path` 4, `:authority` 1, `content-type` 31; `te` in letters.
    literal(&[0x04], path);
    literal(&[0x01], authority);
    literal(&[0x0f, 0x10], "application/grpc");
    literal(&[0x00, 2, b't', b'e'], "trailers");
    block
}
