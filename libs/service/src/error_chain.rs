//! An error with all its causes on one line.
//!
//! In: any error whose `Display` does not repeat its source. Out: `what: because: because`.
//! Used wherever an error is printed or logged, so that no other place walks a chain.

use std::error::Error;
use std::fmt;

/// Displays an error, then each of its sources, separated by `: `.
#[derive(Debug, Clone, Copy)]
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot start {part}")]
    struct Outer {
        part: &'static str,
        #[source]
        source: std::io::Error,
    }

    #[test]
    fn every_cause_is_on_the_line_once() {
        let error = Outer { part: "the listener", source: std::io::Error::other("port is taken") };
        assert_eq!(ErrorChain(&error).to_string(), "cannot start the listener: port is taken");
    }
}
