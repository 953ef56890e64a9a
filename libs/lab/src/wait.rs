//! Awaiting a state with a deadline, and holding a truth for a while.
//!
//! The lab never sleeps for a fixed time to let something happen: it asks until the state is there.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::LabError;

const PAUSE: Duration = Duration::from_millis(20);

/// Asks until `probe` answers `Ok`, and gives its value; `what` completes the sentence "waited until …".
///
/// The last `Err` is part of the error, so it should say what was the case instead.
pub async fn until<T, E, F>(what: &str, deadline: Duration, probe: F) -> Result<T, LabError>
where
    E: Display,
    F: AsyncFnMut() -> Result<T, E>,
{
    let mut probe = probe;
    let begin = Instant::now();
    let mut seen = "nothing yet".to_owned();
    while begin.elapsed() < deadline {
        let left = deadline.saturating_sub(begin.elapsed());
        match tokio::time::timeout(left, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(other)) => seen = other.to_string(),
            Err(_) => seen = format!("{seen} (the last question got no answer)"),
        }
        sleep(PAUSE).await;
    }
    Err(LabError::Deadline { what: what.to_owned(), waited: deadline, seen })
}

/// Asks for `span` whether `probe` stays `Ok`; the first `Err` ends it.
pub async fn holds<E, F>(what: &str, span: Duration, probe: F) -> Result<(), LabError>
where
    E: Display,
    F: AsyncFnMut() -> Result<(), E>,
{
    let mut probe = probe;
    let begin = Instant::now();
    while begin.elapsed() < span {
        if let Err(other) = probe().await {
            return Err(LabError::Deadline {
                what: format!("{what} held for {span:?}"),
                waited: begin.elapsed(),
                seen: other.to_string(),
            });
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_deadline_says_what_was_awaited_and_what_was_seen_instead() {
        let mut asked = 0;
        let error = until("three is reached", Duration::from_secs(2), async || {
            asked += 1;
            Err::<(), _>(format!("only {}", asked.min(2)))
        })
        .await
        .unwrap_err()
        .to_string();
        assert!(error.contains("until three is reached"), "{error}");
        assert!(error.contains("last seen: only 2"), "{error}");
    }

    #[tokio::test]
    async fn a_probe_that_never_answers_does_not_outlast_the_deadline() {
        let never = async || std::future::pending::<Result<(), String>>().await;
        let error = until("it answers", Duration::from_millis(30), never).await.unwrap_err();
        assert!(error.to_string().contains("got no answer"), "{error}");
    }

    #[tokio::test]
    async fn a_truth_that_breaks_ends_the_hold() {
        let mut asked = 0;
        let broken = holds("it stays below three", Duration::from_secs(5), async || {
            asked += 1;
            if asked < 3 { Ok(()) } else { Err("three") }
        });
        assert!(broken.await.unwrap_err().to_string().contains("last seen: three"));
    }
}
