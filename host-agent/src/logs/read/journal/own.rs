//! The agent's own lines, limited by the minute. Pure.
//!
//! An agent that reads what it says about each failed sending, and sends that too, talks for ever. Left out altogether, an
//! operator would not see in the log store that one of two destinations fails. So a few a minute are let through.

/// Counts them, by the entries' own time: so no clock is asked.
#[derive(Debug)]
pub(super) struct OwnLines {
    field: Vec<u8>,
    per_minute: u32,
    minute: u64,
    count: u32,
}

const MINUTE_US: u64 = 60_000_000;

impl OwnLines {
    /// Of this unit, so many a minute.
    pub(super) fn new(unit: &str, per_minute: u32) -> Self {
        let field = format!("_SYSTEMD_UNIT={unit}").into_bytes();
        Self { field, per_minute, minute: 0, count: 0 }
    }

    /// The field that entries of the agent have.
    pub(super) fn field(&self) -> &[u8] {
        &self.field
    }

    /// Whether one more line of that time is let through.
    pub(super) fn allow(&mut self, realtime_us: u64) -> bool {
        let minute = realtime_us / MINUTE_US;
        if minute != self.minute {
            (self.minute, self.count) = (minute, 0);
        }
        self.count = self.count.saturating_add(1);
        self.count <= self.per_minute
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_lines_of_a_minute_are_let_through() {
        let mut own = OwnLines::new("host-agent.service", 2);
        assert_eq!(own.field(), b"_SYSTEMD_UNIT=host-agent.service");
        let times = [0, 1, 59_999_999, 60_000_000, 60_000_001, 60_000_002];
        assert_eq!(times.map(|time| own.allow(time)), [true, true, false, true, true, false]);
        assert!(!OwnLines::new("x", 0).allow(5));
    }
}
