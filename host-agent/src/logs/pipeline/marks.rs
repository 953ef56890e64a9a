//! How far each source was read, in the form in which a batch says it.
//!
//! In: the saved positions, then the place of every entry that was read. Out: [`Progress`] for a batch that is sealed. Owned by
//! the pipeline's thread.
//!
//! **Invariants**: while a source is read again, its position does not go back, and records that were open then and were not
//! met again yet stay open.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::logs::batch::Progress;
use crate::logs::entry::SourceId;
use crate::logs::position::{Positions, SourcePosition};

/// Of all sources.
#[derive(Debug)]
pub(super) struct Marks {
    saved: Positions,
    sources: BTreeMap<SourceId, Mark>,
}

#[derive(Debug)]
struct Mark {
    name: Arc<str>,
    through: String,
    /// Open at the last seal.
    open: Vec<String>,
    /// Open in the saved position and not read again yet, in the order of reading.
    awaited: Vec<String>,
    is_changed: bool,
    has_ended: bool,
}

impl Marks {
    /// Nothing read yet; reading goes on at these positions.
    pub(super) const fn new(saved: Positions) -> Self {
        Self { saved, sources: BTreeMap::new() }
    }

    fn mark(&mut self, source: SourceId, name: impl FnOnce() -> Arc<str>) -> &mut Mark {
        let Self { saved, sources } = self;
        sources.entry(source).or_insert_with(|| {
            let name = name();
            let SourcePosition { through, open } = saved.sources.remove(&*name).unwrap_or_default();
            let awaited = open.clone();
            Mark { name, through, open, awaited, is_changed: false, has_ended: false }
        })
    }

    /// A source without a saved position begins here.
    pub(super) fn begin(&mut self, source: SourceId, name: &str, position: SourcePosition) {
        let mark = self.mark(source, || Arc::from(name));
        (mark.through, mark.awaited) = (position.through, position.open);
        mark.is_changed = true;
    }

    /// How far a source was read, by its name.
    pub(super) fn through(&self, name: &str) -> Option<String> {
        let read = self.sources.values().find(|mark| &*mark.name == name);
        let saved = || self.saved.sources.get(name).map(|saved| saved.through.clone());
        read.map(|mark| mark.through.clone()).or_else(saved)
    }

    /// An entry was read for the first time.
    pub(super) fn passed(
        &mut self,
        source: SourceId,
        cursor: &str,
        name: impl FnOnce() -> Arc<str>,
    ) {
        let mark = self.mark(source, name);
        mark.through.clear();
        mark.through.push_str(cursor);
        mark.is_changed = true;
        // What was open and did not come again is gone from the source, which said so.
        mark.awaited.clear();
    }

    /// An entry was read again; whether a record that was open began with it.
    pub(super) fn again(
        &mut self,
        source: SourceId,
        cursor: &str,
        name: impl FnOnce() -> Arc<str>,
    ) -> bool {
        let mark = self.mark(source, name);
        let found = mark.awaited.iter().position(|awaited| awaited == cursor);
        // Those before it would have come before it.
        found.inspect(|index| drop(mark.awaited.drain(..=*index))).is_some()
    }

    /// A source brings no more entries.
    pub(super) fn ended(&mut self, source: SourceId, name: impl FnOnce() -> Arc<str>) {
        let mark = self.mark(source, name);
        (mark.has_ended, mark.is_changed) = (true, true);
    }

    /// Whether there is something to say that was not said yet.
    pub(super) fn has_changed(&self) -> bool {
        self.sources.values().any(|mark| mark.is_changed)
    }

    /// What a batch says that holds everything read so far but the records that are `open`.
    pub(super) fn take<'a>(
        &mut self,
        open: impl Iterator<Item = (SourceId, &'a str)>,
    ) -> Vec<Progress> {
        let mut now_open: BTreeMap<SourceId, Vec<String>> = BTreeMap::new();
        for (source, cursor) in open {
            now_open.entry(source).or_default().push(cursor.to_owned());
        }
        let mut progress = Vec::new();
        self.sources.retain(|source, mark| {
            let mut open = now_open.remove(source).unwrap_or_default();
            open.extend_from_slice(&mark.awaited);
            if !mark.is_changed && open == mark.open {
                return true;
            }
            mark.is_changed = false;
            mark.open = open;
            let is_done = mark.has_ended && mark.open.is_empty();
            let position =
                SourcePosition { through: mark.through.clone(), open: mark.open.clone() };
            let position = (!is_done).then_some(position);
            progress.push(Progress { source: Arc::clone(&mark.name), position });
            !is_done
        });
        progress
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOURNAL: SourceId = SourceId(0);

    fn name() -> Arc<str> {
        Arc::from("journal")
    }

    fn position(through: &str, open: &[&str]) -> SourcePosition {
        SourcePosition {
            through: through.to_owned(),
            open: open.iter().map(|one| (*one).to_owned()).collect(),
        }
    }

    fn progress(position: Option<SourcePosition>) -> Vec<Progress> {
        vec![Progress { source: name(), position }]
    }

    #[test]
    fn only_what_changed_is_said() {
        let mut marks = Marks::new(Positions::default());
        marks.passed(JOURNAL, "1", name);
        assert_eq!(marks.take([(JOURNAL, "1")].into_iter()), progress(Some(position("1", &["1"]))));
        assert_eq!(marks.take([(JOURNAL, "1")].into_iter()), []);
        assert_eq!(marks.take(std::iter::empty()), progress(Some(position("1", &[]))));
    }

    #[test]
    fn while_a_source_is_read_again_its_position_does_not_go_back() {
        let sources = [("journal".to_owned(), position("9", &["2", "5"]))].into();
        let mut marks = Marks::new(Positions { sources });
        assert!(marks.again(JOURNAL, "2", name));
        assert!(!marks.again(JOURNAL, "3", name));
        // The record of 2 is whole, that of 5 did not come again yet.
        assert_eq!(marks.take(std::iter::empty()), progress(Some(position("9", &["5"]))));
        assert!(marks.again(JOURNAL, "5", name));
        let open = [(JOURNAL, "5")];
        assert_eq!(marks.take(open.into_iter()), []);
        marks.passed(JOURNAL, "10", name);
        assert_eq!(marks.take(open.into_iter()), progress(Some(position("10", &["5"]))));
    }

    #[test]
    fn a_record_whose_beginning_is_gone_is_not_awaited_for_ever() {
        let sources = [("journal".to_owned(), position("9", &["2", "5"]))].into();
        let mut marks = Marks::new(Positions { sources });
        assert!(marks.again(JOURNAL, "5", name));
        marks.passed(JOURNAL, "10", name);
        assert_eq!(marks.take(std::iter::empty()), progress(Some(position("10", &[]))));
    }

    #[test]
    fn a_source_that_ended_is_forgotten_when_nothing_of_it_is_open() {
        let mut marks = Marks::new(Positions::default());
        marks.passed(JOURNAL, "1", name);
        marks.ended(JOURNAL, name);
        assert_eq!(marks.take([(JOURNAL, "1")].into_iter()), progress(Some(position("1", &["1"]))));
        assert_eq!(marks.take(std::iter::empty()), progress(None));
        assert_eq!(marks.take(std::iter::empty()), []);
    }
}
