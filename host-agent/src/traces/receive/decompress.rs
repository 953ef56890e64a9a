//! Decompression that stops: at the limit, and where the sender has no more room.

use std::io::{self, Read};

use bytes::Bytes;

use super::Refusal;
use crate::traces::shares::Share;

/// So much is decompressed at a time.
const STEP: usize = 64 << 10;
/// Zstandard's window, as a power of two: 8 MiB, which its decoders must accept (RFC 8878, 3.1.1.1.2).
const WINDOW_LOG: u32 = 23;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// From the value of `content-encoding` or `grpc-encoding`.
    ///
    /// # Errors
    /// When it is not served.
    pub(super) fn of(value: Option<&http::HeaderValue>) -> Result<Self, Refusal> {
        let written = value.map_or(Ok("identity"), |value| value.to_str());
        match written.map(|written| written.trim().to_ascii_lowercase()).as_deref() {
            Ok("identity" | "") => Ok(Self::Identity),
            Ok("gzip" | "x-gzip") => Ok(Self::Gzip),
            Ok("zstd") => Ok(Self::Zstd),
            Ok(other) => Err(Refusal::Encoding(other.to_owned())),
            Err(_) => Err(Refusal::Encoding("(not text)".to_owned())),
        }
    }

    /// The bytes in plain; `limit` at most.
    ///
    /// # Errors
    /// When there are more, the sender has no more room, or they cannot be decompressed.
    pub(super) fn decode(
        self,
        bytes: &Bytes,
        limit: usize,
        share: &mut Share,
    ) -> Result<Bytes, Refusal> {
        match self {
            Self::Identity if bytes.len() > limit => Err(Refusal::TooLarge(limit)),
            Self::Identity => Ok(bytes.clone()),
            Self::Gzip => inflate(flate2::bufread::MultiGzDecoder::new(&bytes[..]), limit, share),
            Self::Zstd => {
                let mut decoder =
                    zstd::Decoder::with_buffer(&bytes[..]).map_err(|error| bad(&error))?;
                decoder.window_log_max(WINDOW_LOG).map_err(|error| bad(&error))?;
                inflate(decoder, limit, share)
            }
        }
    }
}

fn bad(error: &io::Error) -> Refusal {
    Refusal::Malformed(format!("it cannot be decompressed: {error}"))
}

fn inflate(mut decoder: impl Read, limit: usize, share: &mut Share) -> Result<Bytes, Refusal> {
    let mut plain = Vec::new();
    loop {
        if !share.grow(STEP as u64) {
            return Err(Refusal::Busy);
        }
        let read = decoder
            .by_ref()
            .take(STEP as u64)
            .read_to_end(&mut plain)
            .map_err(|error| bad(&error))?;
        if plain.len() > limit {
            return Err(Refusal::TooLarge(limit));
        }
        if read < STEP {
            return Ok(plain.into());
        }
    }
}
