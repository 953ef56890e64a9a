//! The last good state on disk: read once at the start, written after changes, replaced by rename.
//!
//! **Invariants**: a reader never sees half a file; a damaged file is ignored with a warning; a failed write is
//! logged and tried again with the next change, because serving goes on without it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use service::ErrorChain;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::catalog::last_good::LastGood;

/// The file.
#[derive(Debug, Clone)]
pub(super) struct LastGoodFile {
    path: PathBuf,
}

impl LastGoodFile {
    /// The file of a data folder.
    pub(super) fn new(folder: &Path) -> Self {
        Self { path: folder.join("last-good.json") }
    }

    /// What it holds, if it can be used.
    pub(super) fn load(&self) -> Option<LastGood> {
        let file = self.path.display();
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                warn!(%file, %error, "Cannot read the last good state");
                return None;
            }
        };
        match LastGood::decode(&bytes) {
            Ok(state) => {
                info!(%file, names = state.names.len(), "Read the last good state");
                Some(state)
            }
            Err(error) => {
                warn!(%file, error = %ErrorChain(&error), "Cannot use the last good state");
                None
            }
        }
    }

    /// Writes every new state until the catalog ends, and its last one.
    pub(super) async fn run(self, mut states: watch::Receiver<Option<Arc<LastGood>>>) {
        while states.changed().await.is_ok() {
            let Some(state) = states.borrow_and_update().clone() else { continue };
            let path = self.path.clone();
            let written = tokio::task::spawn_blocking(move || write(&path, &state)).await;
            let outcome = written.map_err(io::Error::other).and_then(|result| result);
            if let Err(error) = outcome {
                let file = self.path.display();
                warn!(%file, %error, "Cannot write the last good state: a restart without a registry would serve nothing");
            }
        }
    }
}

fn write(path: &Path, state: &LastGood) -> io::Result<()> {
    let bytes = state.encode().map_err(io::Error::other)?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let new = path.with_extension("json.new");
    let mut file = std::fs::File::create(&new)?;
    io::Write::write_all(&mut file, &bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_state_that_came_with_the_end_of_the_catalog_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = LastGoodFile::new(folder.path());
        let (states, received) = watch::channel(None);
        let state = LastGood { format: LastGood::FORMAT, ..LastGood::default() };
        states.send_replace(Some(Arc::new(state.clone())));
        drop(states);
        file.clone().run(received).await;
        assert_eq!(file.load(), Some(state));
    }

    #[test]
    fn a_state_reads_back_and_a_damaged_file_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let file = LastGoodFile::new(&folder.path().join("new"));
        assert_eq!(file.load(), None);
        let state = LastGood { format: LastGood::FORMAT, ..LastGood::default() };
        write(&file.path, &state).unwrap();
        assert_eq!(file.load(), Some(state));
        std::fs::write(&file.path, "{").unwrap();
        assert_eq!(file.load(), None);
    }
}
