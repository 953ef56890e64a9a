//! The names of sources and their small ids, which last as long as the process.

use crate::logs::entry::SourceId;

/// The table: an id is the place of its name.
#[derive(Debug, Default)]
pub(super) struct Sources {
    names: Vec<String>,
}

impl Sources {
    /// The id of a new source. A name that comes again is another source: its stream ended in between.
    pub(super) fn id(&mut self, name: &str) -> SourceId {
        self.names.push(name.to_owned());
        SourceId(u32::try_from(self.names.len() - 1).unwrap_or(u32::MAX))
    }

    /// Its lasting name.
    pub(super) fn name(&self, id: SourceId) -> &str {
        let index = usize::try_from(id.0).unwrap_or(usize::MAX);
        self.names.get(index).map_or("", String::as_str)
    }
}
