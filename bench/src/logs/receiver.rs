//! The receiver alone: the same number of records from a sender that has nothing to do but send.

use std::io::Write as _;
use std::time::Instant;

use anyhow::Context;
use flate2::Compression;
use flate2::write::GzEncoder;
use lab::forward_receiver::{Behaviour, ForwardReceiver, Keep};
use rmpv::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::figures::Figure;

const CHUNK: u64 = 2_000;
/// About what a record has after shaping.
const RECORD_BYTES: usize = 500;

#[expect(clippy::cast_precision_loss, reason = "counts of records are far below 2^52")]
pub(super) async fn alone(records: u64) -> anyhow::Result<Figure> {
    let behaviour = Behaviour { keep: Keep::Numbers, ..Behaviour::default() };
    let receiver = ForwardReceiver::start(behaviour).await?;
    let message = message()?;
    let stream = TcpStream::connect(receiver.address()).await.context("cannot connect")?;
    stream.set_nodelay(true)?;
    let (mut reading, mut writing) = stream.into_split();
    let begin = Instant::now();
    let send = async {
        for _ in 0..records / CHUNK {
            writing.write_all(&message).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let acknowledged = async {
        let mut left = records / CHUNK * ack().len() as u64;
        let mut buffer = vec![0; 4096];
        while left > 0 {
            left = left.saturating_sub(reading.read(&mut buffer).await? as u64);
        }
        Ok::<_, std::io::Error>(())
    };
    tokio::try_join!(send, acknowledged).context("the receiver went away")?;
    let rate = records as f64 / begin.elapsed().as_secs_f64();
    let how = "prepared chunks of 2000 records, gzip, each acknowledged; it must not be what limits the figures above";
    Ok(Figure::new("receiver alone", "records/s", rate, how))
}

fn ack() -> Vec<u8> {
    let mut bytes = Vec::new();
    let ack = Value::Map(vec![(Value::from("ack"), Value::from("chunk"))]);
    // A vector takes whatever is written.
    rmpv::encode::write_value(&mut bytes, &ack).ok();
    bytes
}

fn message() -> anyhow::Result<Vec<u8>> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    for number in 0..CHUNK {
        let text = format!("{number:016x}").repeat(RECORD_BYTES / 16);
        let record = Value::Map(vec![(Value::from("message"), Value::from(text))]);
        let entry = Value::Array(vec![Value::Ext(0, vec![0; 8]), record]);
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, &entry)?;
        packed.write_all(&bytes)?;
    }
    let option = Value::Map(vec![
        (Value::from("size"), Value::from(CHUNK)),
        (Value::from("chunk"), Value::from("chunk")),
        (Value::from("compressed"), Value::from("gzip")),
    ]);
    let message = Value::Array(vec![Value::from("tag"), Value::Binary(packed.finish()?), option]);
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, &message)?;
    Ok(bytes)
}
