//! A chunk as it goes over the wire: PackedForward or CompressedPackedForward.
//!
//! In: a [`Chunk`]. Out: `[tag, entries, {size, chunk, compressed}]` in three parts, so that entries sent as they are need no copy.

use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::write::GzEncoder;

use super::window::Chunk;
use crate::logs::deliver::config::forward::Compression;
use crate::logs::deliver::msgpack::Writer;

/// Level of gzip: for log lines the lowest gives most of what there is, at a multiple of the speed.
const GZIP_LEVEL: u32 = 1;
/// Level of zstd.
const ZSTD_LEVEL: i32 = 1;

/// A frame in the order of the wire.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) head: Bytes,
    pub(super) entries: Bytes,
    pub(super) options: Bytes,
}

impl Frame {
    /// Its bytes on the wire.
    pub(super) fn len(&self) -> usize {
        self.head.len() + self.entries.len() + self.options.len()
    }
}

/// Packs a chunk; `is_acked` asks for an acknowledgement.
///
/// # Errors
/// When the compressor fails, which in memory it does for lack of it only.
pub(super) fn pack(chunk: &Chunk, compression: Compression, is_acked: bool) -> io::Result<Frame> {
    let entries = compress(&chunk.entries, compression)?;
    let length = u32::try_from(entries.len()).map_err(io::Error::other)?;
    let head = Writer::default().list(3).text(&chunk.tag).binary_length(length).finish();
    let word = match compression {
        Compression::Gzip => Some("gzip"),
        Compression::Zstd => Some("zstd"),
        Compression::None => None,
    };
    let count = 1 + u32::from(is_acked) + u32::from(word.is_some());
    let mut options = Writer::default().map(count).text("size").unsigned(chunk.records.into());
    if is_acked {
        options = options.text("chunk").text(&chunk.name);
    }
    if let Some(word) = word {
        options = options.text("compressed").text(word);
    }
    Ok(Frame { head: head.into(), entries, options: options.finish().into() })
}

fn compress(entries: &Bytes, compression: Compression) -> io::Result<Bytes> {
    Ok(match compression {
        Compression::None => entries.clone(),
        Compression::Gzip => {
            let packed = Vec::with_capacity(entries.len() / 4);
            let mut encoder = GzEncoder::new(packed, flate2::Compression::new(GZIP_LEVEL));
            encoder.write_all(entries)?;
            encoder.finish()?.into()
        }
        Compression::Zstd => zstd::bulk::compress(entries, ZSTD_LEVEL)?.into(),
    })
}
