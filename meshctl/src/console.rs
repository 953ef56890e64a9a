//! Where a command talks: output, complaints, questions.
//!
//! `main` makes one from the process's own streams; tests make one from buffers.
//!
//! **Invariants**: what a program may read goes to `out`, everything else to `err`.

use std::io::{BufRead, Write};
use std::time::{Duration, SystemTime};

use crate::failure::Failure;

/// The streams of a command, and what is known about them.
pub struct Console<'a> {
    /// Results.
    pub out: &'a mut dyn Write,
    /// Warnings, questions, progress.
    pub err: &'a mut dyn Write,
    /// Answers, and documents given as `-`.
    pub input: &'a mut dyn BufRead,
    /// Whether a person can be asked.
    pub is_interactive: bool,
    /// Whether colours mean anything on `out`.
    pub has_color: bool,
    /// Columns of the terminal behind `out`; `None`: not a terminal, do not wrap.
    pub width: Option<u16>,
    /// Columns of the terminal behind `err`; `None`: not a terminal, progress goes there as lines.
    pub err_width: Option<u16>,
    /// The time at which the command began.
    pub now: SystemTime,
}

impl std::fmt::Debug for Console<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console")
            .field("is_interactive", &self.is_interactive)
            .finish_non_exhaustive()
    }
}

impl Console<'_> {
    /// Writes a result; `text` brings its own line ends.
    ///
    /// # Errors
    /// When nobody takes the output.
    pub fn print(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes()).map_err(broken)
    }

    /// Writes a remark of one line.
    ///
    /// # Errors
    /// When nobody takes it.
    pub fn remark(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.err, "{text}").map_err(broken)
    }

    /// Asks for a yes.
    ///
    /// # Errors
    /// When nobody can be asked, or the answer is anything else.
    pub fn confirm(&mut self, question: &str) -> Result<(), Failure> {
        if !self.is_interactive {
            return Err(Failure::Refused(
                "nothing was changed: there is no terminal to ask on, pass --yes".to_owned(),
            ));
        }
        write!(self.err, "{question} [y/N] ").and_then(|()| self.err.flush()).map_err(broken)?;
        let mut answer = String::new();
        self.input.read_line(&mut answer).map_err(broken)?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Failure::Refused("nothing was changed".to_owned())),
        }
    }

    /// Everything that stands on the input.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_input(&mut self) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        self.input.read_to_end(&mut bytes).map_err(broken)?;
        Ok(bytes)
    }

    /// Seconds since the epoch at which the command began.
    pub fn unix_seconds(&self) -> u64 {
        self.now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since: Duration| since.as_secs())
    }
}

fn broken(error: std::io::Error) -> Failure {
    Failure::Refused(format!("cannot use standard input or output: {error}"))
}

/// A length of time in its largest unit, rounded down: `45s`, `3m`, `7h`, `12d`.
pub fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_shown_in_its_largest_unit() {
        for (seconds, shown) in [(0, "0s"), (59, "59s"), (60, "1m"), (7_199, "1h"), (86_400, "1d")]
        {
            assert_eq!(age(seconds), shown);
        }
    }
}
