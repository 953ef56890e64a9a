//! A steady stream through a real journald: how old records are when they arrive, and what the agent costs meanwhile.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use lab::forward_receiver::{Behaviour, ForwardReceiver, Keep};
use lab::journald::{Journald, Settings};

use super::agent;
use crate::figures::{Figure, percentile, sorted};
use crate::usage;

const NAME: &str = "steady";
const DEADLINE: Duration = Duration::from_secs(60);
/// What is left out at the beginning.
const WARM_UP: Duration = Duration::from_secs(2);
/// Lines written together; the writer rests between.
const BURST: u64 = 5;

#[expect(clippy::cast_precision_loss, reason = "counts of records are far below 2^52")]
pub(super) async fn measure(rate: u64, seconds: u64, folder: &Path) -> anyhow::Result<Vec<Figure>> {
    if let Err(why) = Journald::is_possible() {
        anyhow::bail!("the steady stream needs a journald: {why}");
    }
    let journald = Arc::new(Journald::start(&folder.join("journald"), Settings::default()).await?);
    let behaviour = Behaviour { keep: Keep::Ages, ..Behaviour::default() };
    let receiver = ForwardReceiver::start(behaviour).await?;
    let keys = format!(
        "directory = {:?}\nmatches = [[\"SYSLOG_IDENTIFIER=steady\"]]",
        journald.journals()
    );
    let process = agent::start(NAME, folder, &keys, receiver.address())?;
    agent::until_reading(folder, NAME).await?;
    write(&journald, rate, WARM_UP).await?;
    receiver.take_ages();
    let before = usage::cpu_seconds(process.id())?;
    let begin = Instant::now();
    let written = write(&journald, rate, Duration::from_secs(seconds)).await?;
    let span = begin.elapsed().as_secs_f64();
    let cpu = usage::cpu_seconds(process.id())? - before;
    let total = written + rate * WARM_UP.as_secs();
    while receiver.records() < total {
        let late = begin.elapsed() > DEADLINE + Duration::from_secs(seconds);
        ensure!(!late, "{} of {total} records arrived", receiver.records());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let ages = receiver.take_ages();
    let ages = sorted(ages.into_iter().map(|ns| ns as f64 / 1e6).collect());
    let how = format!(
        "{rate} lines/s for {seconds} s through a real journald, from the entry's time in the journal to its arrival; writer, journald and receiver on the same two cores"
    );
    let name = |what: &str| format!("steady {rate}/s, {what}");
    Ok(vec![
        Figure::new(name("age p50"), "ms", percentile(&ages, 0.5), &how),
        Figure::new(name("age p99"), "ms", percentile(&ages, 0.99), &how).goal(200.0),
        Figure::new(name("age max"), "ms", percentile(&ages, 1.0), &how),
        Figure::new(name("CPU"), "% of a core", cpu / span * 100.0, &how),
    ])
}

/// Writes lines by a schedule, on a thread of its own.
async fn write(journald: &Arc<Journald>, rate: u64, span: Duration) -> anyhow::Result<u64> {
    let journald = Arc::clone(journald);
    let count = rate * span.as_secs();
    let writing = tokio::task::spawn_blocking(move || {
        let begin = Instant::now();
        for number in 0..count {
            if number % BURST == 0 {
                let due = Duration::from_micros(number * 1_000_000 / rate);
                std::thread::park_timeout(due.saturating_sub(begin.elapsed()));
            }
            line(&journald, number)?;
        }
        Ok::<_, lab::LabError>(count)
    });
    Ok(writing.await.context("the writer panicked")??)
}

/// A line with the fields that Docker's driver gives it; journald adds its own.
fn line(journald: &Journald, number: u64) -> Result<(), lab::LabError> {
    let container = number % 8;
    let message =
        format!("seq={number} level=info msg=\"order accepted\" path=/orders/{}", number % 977);
    let name = format!("orders-a1b2c3d4-0000-0000-0000-00000000000{container}");
    let full =
        format!("738f9eed4362690e29a1b0d52b017c4e14b8a029d6d38a5194b400ea07314f2{container}");
    let allocation = format!("a1b2c3d4-0000-0000-0000-00000000000{container}");
    let fields = [
        ("MESSAGE", message.as_str()),
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", NAME),
        ("CONTAINER_ID_FULL", &full),
        ("CONTAINER_NAME", &name),
        ("IMAGE_NAME", "registry.example/trading/orders:1.42.0"),
        ("COM_HASHICORP_NOMAD_ALLOC_ID", &allocation),
        ("COM_HASHICORP_NOMAD_JOB_NAME", "orders"),
        ("COM_HASHICORP_NOMAD_TASK_GROUP_NAME", "orders"),
        ("COM_HASHICORP_NOMAD_TASK_NAME", "orders"),
    ];
    journald.send(&fields.map(|(name, value)| (name, value.as_bytes())))
}
