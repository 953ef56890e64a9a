//! What was lost before the journal: journald's rate limit says so itself, Docker's ordinals show it by their gaps.
//!
//! Docker (24 and later) counts each container's messages; stdout and stderr are written by two threads, so a number may come
//! a little late. A gap counts once 64 later ones have come, or after ten seconds, and what comes before that closes it.
//! The count begins anew with the container's epoch, and after a restart of the agent with the first number that is seen.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::logs::entry::Fields;
use crate::logs::shape::fields::{Known, Scan};
use crate::logs::shape::{LossReason, Lost, Shaped};

/// journald's `Suppressed N messages from UNIT` (systemd's `SD_MESSAGE_JOURNAL_DROPPED`).
const SUPPRESSED: &[u8] = b"a596d6fe7bfa4994828e72309e95d61e";
/// Numbers by which another may be late.
const LATE: u64 = 64;
/// Longest wait for one that is late.
const WAIT: Duration = Duration::from_secs(10);
/// Containers whose numbers are followed; the one that was silent longest is forgotten for a new one.
const MOST_CONTAINERS: usize = 4_096;
/// Gaps of one container that wait.
const MOST_GAPS: usize = 16;

/// The numbers of all containers.
#[derive(Debug, Default)]
pub(super) struct Losses {
    containers: BTreeMap<Box<[u8]>, Container>,
    /// Containers with a gap that waits.
    open: usize,
}

#[derive(Debug)]
struct Container {
    name: Box<str>,
    epoch: Box<[u8]>,
    /// The number that comes next.
    next: u64,
    gaps: Vec<Gap>,
    seen: Instant,
}

#[derive(Debug)]
struct Gap {
    numbers: Range<u64>,
    since: Instant,
}

impl Losses {
    /// Reads what an entry says of losses. Without `emit` nothing is counted: it was, before the restart.
    pub(super) fn see(
        &mut self,
        scan: &Scan,
        fields: &Fields,
        now: Instant,
        count_ordinals: bool,
        emit: Option<&mut dyn FnMut(Shaped<'_>)>,
    ) {
        if scan.get(fields, Known::MessageId) == Some(SUPPRESSED) {
            if let (Some(lost), Some(emit)) = (suppressed(scan, fields), emit) {
                emit(Shaped::Lost(lost));
            }
            return;
        }
        let Some(ordinal) = scan.number(fields, Known::LogOrdinal).filter(|_| count_ordinals)
        else {
            return;
        };
        let Some(container) = scan.get(fields, Known::ContainerId) else { return };
        let epoch = scan.get(fields, Known::LogEpoch).unwrap_or_default();
        match self.containers.get_mut(container) {
            Some(known) if *known.epoch == *epoch => {
                let before = known.gaps.len();
                known.see(ordinal, now);
                if let Some(emit) = emit {
                    known.report(now, emit);
                } else {
                    known.gaps.clear();
                }
                self.open = self.open + known.gaps.len() - before;
            }
            Some(known) => {
                let waited = known.gaps.len();
                if let Some(emit) = emit {
                    known.report_all(emit);
                }
                self.open -= waited;
                let name = std::mem::take(&mut known.name);
                *known = Container::new(name, epoch, ordinal, now);
            }
            None => {
                let name = scan.text(fields, Known::ContainerName).unwrap_or_default();
                self.make_room();
                let new = Container::new(name.into(), epoch, ordinal, now);
                self.containers.insert(container.into(), new);
            }
        }
    }

    /// Counts the gaps whose time is over.
    pub(super) fn expire(&mut self, now: Instant, emit: &mut dyn FnMut(Shaped<'_>)) {
        if self.open == 0 {
            return;
        }
        for known in self.containers.values_mut() {
            known.report(now, emit);
        }
        self.open = self.containers.values().map(|known| known.gaps.len()).sum();
    }

    /// When the next gap's time is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.open == 0 {
            return None;
        }
        let gaps = self.containers.values().flat_map(|known| &known.gaps);
        gaps.map(|gap| gap.since + WAIT).min()
    }

    fn make_room(&mut self) {
        if self.containers.len() < MOST_CONTAINERS {
            return;
        }
        let silent = self.containers.iter().min_by_key(|(_, known)| known.seen);
        if let Some(id) = silent.map(|(id, _)| id.clone())
            && let Some(known) = self.containers.remove(&id)
        {
            self.open -= known.gaps.len();
        }
    }
}

impl Container {
    fn new(name: Box<str>, epoch: &[u8], ordinal: u64, now: Instant) -> Self {
        let next = ordinal.saturating_add(1);
        Self { name, epoch: epoch.into(), next, gaps: Vec::new(), seen: now }
    }

    fn see(&mut self, ordinal: u64, now: Instant) {
        self.seen = now;
        if ordinal < self.next {
            return self.close(ordinal);
        }
        if ordinal > self.next {
            self.gaps.push(Gap { numbers: self.next..ordinal, since: now });
        }
        self.next = ordinal.saturating_add(1);
    }

    /// A late number closes its place in a gap.
    fn close(&mut self, ordinal: u64) {
        let Some(place) = self.gaps.iter().position(|gap| gap.numbers.contains(&ordinal)) else {
            return;
        };
        let gap = self.gaps.remove(place);
        let before = gap.numbers.start..ordinal;
        let after = ordinal + 1..gap.numbers.end;
        let parts = [before, after].into_iter().filter(|part| !part.is_empty());
        self.gaps.splice(place..place, parts.map(|numbers| Gap { numbers, since: gap.since }));
    }

    /// Counts the gaps whose time is over, and the oldest where there are too many.
    fn report(&mut self, now: Instant, emit: &mut dyn FnMut(Shaped<'_>)) {
        let too_many = self.gaps.len().saturating_sub(MOST_GAPS);
        let next = self.next;
        let is_over = |place: usize, gap: &Gap| {
            place < too_many
                || next.saturating_sub(gap.numbers.end) > LATE
                || gap.since + WAIT <= now
        };
        // Gaps stand in the order of their numbers and age.
        let over = self.gaps.iter().enumerate().take_while(|(place, gap)| is_over(*place, gap));
        let over = over.count();
        if over > 0 {
            let waiting = self.gaps.split_off(over);
            self.report_all(emit);
            self.gaps = waiting;
        }
    }

    fn report_all(&mut self, emit: &mut dyn FnMut(Shaped<'_>)) {
        let count = self.gaps.drain(..).map(|gap| gap.numbers.end - gap.numbers.start).sum();
        if count > 0 {
            let writer = Some(&*self.name).filter(|name| !name.is_empty());
            emit(Shaped::Lost(Lost { writer, count, reason: LossReason::Docker }));
        }
    }
}

fn suppressed<'f>(scan: &Scan, fields: &'f Fields) -> Option<Lost<'f>> {
    let count = scan.number(fields, Known::Dropped).or_else(|| {
        // Before systemd 235 the number stood in the text alone.
        let text = scan.text(fields, Known::Message)?.strip_prefix("Suppressed ")?;
        text.split_once(' ')?.0.parse().ok()
    })?;
    let writer = scan.text(fields, Known::ObjectUnit);
    Some(Lost { writer, count, reason: LossReason::RateLimit })
}
