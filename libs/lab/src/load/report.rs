//! What came of a load: counts, reasons, latencies, and when requests were lost.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct LoadReport {
    /// Requests sent.
    pub sent: u64,
    /// Answered 2xx (gRPC: status 0), streams to their end.
    pub ok: u64,
    /// The others, by reason.
    pub failed: BTreeMap<String, u64>,
    /// Answers by the instance that gave them, where the body names one.
    pub by_instance: BTreeMap<String, u64>,
    /// Between which moments those requests were due that failed, counted from the load's beginning.
    pub lost_between: Option<(Duration, Duration)>,
    latencies: Vec<Duration>,
}

impl LoadReport {
    /// Requests that failed.
    pub fn lost(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Latency below which this share (0 to 1) of the answers was.
    pub fn percentile(&self, share: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index below the length"
        )]
        let index = (last as f64 * share.clamp(0.0, 1.0)).round() as usize;
        self.latencies.get(index).copied().unwrap_or_default()
    }

    /// Adds what came of another load that ran at the same time.
    pub fn absorb(&mut self, other: Self) {
        self.sent += other.sent;
        self.ok += other.ok;
        for (reason, count) in other.failed {
            *self.failed.entry(reason).or_default() += count;
        }
        for (instance, count) in other.by_instance {
            *self.by_instance.entry(instance).or_default() += count;
        }
        self.lost_between = match (self.lost_between, other.lost_between) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, another) => one.or(another),
        };
        self.latencies.extend(other.latencies);
        self.latencies.sort_unstable();
    }

    /// Takes one outcome in; [`LoadReport::sort`] when all are there.
    pub(super) fn add(
        &mut self,
        due: Duration,
        latency: Duration,
        outcome: Result<Option<String>, String>,
    ) {
        self.sent += 1;
        match outcome {
            Ok(instance) => {
                self.ok += 1;
                self.latencies.push(latency);
                if let Some(instance) = instance {
                    *self.by_instance.entry(instance).or_default() += 1;
                }
            }
            Err(reason) => {
                *self.failed.entry(reason).or_default() += 1;
                let (first, last) = self.lost_between.unwrap_or((due, due));
                self.lost_between = Some((first.min(due), last.max(due)));
            }
        }
    }

    pub(super) fn sort(&mut self) {
        self.latencies.sort_unstable();
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |share| self.percentile(share).as_secs_f64() * 1000.0;
        write!(f, "{} sent, {} lost", self.sent, self.lost())?;
        for (reason, count) in &self.failed {
            write!(f, ", {count} × {reason}")?;
        }
        if let Some((first, last)) = self.lost_between {
            let (first, last) = (first.as_secs_f64(), last.as_secs_f64());
            write!(f, " (due {first:.2} to {last:.2} s after the beginning)")?;
        }
        write!(
            f,
            "; p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            millis(0.5),
            millis(0.99),
            millis(1.0)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_loads_at_the_same_time_become_one() {
        let millis = Duration::from_millis;
        let mut one = LoadReport::default();
        one.add(millis(5), millis(3), Ok(Some("a".to_owned())));
        one.add(millis(20), millis(1), Err("gone".to_owned()));
        let mut other = LoadReport::default();
        other.add(millis(10), millis(1), Ok(Some("a".to_owned())));
        other.add(millis(10), millis(1), Err("gone".to_owned()));
        one.absorb(other);
        assert_eq!(
            one.to_string(),
            "4 sent, 2 lost, 2 × gone (due 0.01 to 0.02 s after the beginning); p50 3.0 ms, p99 3.0 ms, max 3.0 ms"
        );
        assert_eq!((one.percentile(0.0), one.by_instance["a"]), (millis(1), 2));
    }
}
