//! Standard output as a sink: for trying rules. Delivered means written to whatever standard output is.

use std::io::Write as _;
use std::path::PathBuf;

use super::file::Sink;
use super::lines::LineFileError;

/// The process's standard output.
#[derive(Debug)]
pub(super) struct Stdout;

impl Sink for Stdout {
    fn append(&mut self, lines: &[u8]) -> Result<(), LineFileError> {
        let mut out = std::io::stdout().lock();
        out.write_all(lines).and_then(|()| out.flush()).map_err(|source| LineFileError {
            step: "write",
            path: PathBuf::from("standard output"),
            source,
        })
    }
}
