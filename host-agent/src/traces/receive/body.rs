//! A request's body as bytes, within its limits and the sender's share of the memory.

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;

use super::Refusal;
use crate::traces::shares::Share;

/// Reads a whole body; `limit` bytes at most.
///
/// # Errors
/// When it is larger, its sender has no more room, or the connection fails.
pub(super) async fn read<B>(mut body: B, limit: usize, share: &mut Share) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    if body.size_hint().lower() > limit as u64 {
        return Err(Refusal::TooLarge(limit));
    }
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Refusal::Malformed(format!("its body ended early: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + joined.len() + data.len() > limit {
            return Err(Refusal::TooLarge(limit));
        }
        if !share.grow(data.len() as u64) {
            return Err(Refusal::Busy);
        }
        if first.is_empty() && joined.is_empty() {
            first = data;
            continue;
        }
        if joined.is_empty() {
            joined.reserve(first.len() + data.len());
            joined.extend_from_slice(&std::mem::take(&mut first));
        }
        joined.extend_from_slice(&data);
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}

/// The message in the frame of a unary gRPC call, and whether it is compressed.
///
/// # Errors
/// When there is not exactly one whole frame.
pub(super) fn unframe(body: &Bytes) -> Result<(bool, Bytes), Refusal> {
    let bad = |what: &str| Refusal::Malformed(what.to_owned());
    let Some(([flag, length @ ..], _)) = body.split_first_chunk::<5>() else {
        return Err(bad("it has no gRPC frame"));
    };
    let is_compressed = match flag {
        0 => false,
        1 => true,
        _ => return Err(bad("its gRPC frame has an unknown flag")),
    };
    let message = body.slice(5..);
    if u32::from_be_bytes(*length) as usize != message.len() {
        return Err(bad("its gRPC frame has another length than it says"));
    }
    Ok((is_compressed, message))
}
