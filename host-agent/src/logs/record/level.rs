//! How grave a record is: one scale for what languages, syslog and JSON loggers call it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// From the least grave to the gravest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Finer than debug.
    Trace,
    /// For those who look for a fault.
    Debug,
    /// The ordinary course; syslog's notice too.
    Info,
    /// Something may need a look.
    Warn,
    /// Something failed.
    Error,
    /// The program or host cannot go on; syslog's crit, alert and emerg.
    Fatal,
}

/// Longest word that means a level (`informational`).
const LONGEST: usize = 13;

impl Level {
    /// The word as it is sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }

    /// What a word means, in any case: the words of syslog, Java, Go, Python, Rust, .NET and JavaScript loggers.
    pub fn from_word(word: &str) -> Option<Self> {
        let mut lower = [0; LONGEST];
        let lower = lower.get_mut(..word.len())?;
        lower.copy_from_slice(word.as_bytes());
        lower.make_ascii_lowercase();
        Some(match &*lower {
            b"trace" | b"trc" | b"verbose" | b"finest" | b"finer" | b"silly" => Self::Trace,
            b"debug" | b"dbg" | b"fine" | b"config" => Self::Debug,
            b"info" | b"inf" | b"information" | b"informational" | b"notice" | b"log" => Self::Info,
            b"warn" | b"wrn" | b"warning" => Self::Warn,
            b"error" | b"err" | b"severe" | b"fail" => Self::Error,
            b"fatal" | b"ftl" | b"critical" | b"crit" | b"alert" | b"emerg" | b"emergency"
            | b"panic" | b"dpanic" => Self::Fatal,
            _ => return None,
        })
    }

    /// What syslog's severities mean (RFC 5424 section 6.2.1): 0 emergency to 7 debug.
    pub const fn from_syslog(severity: u64) -> Option<Self> {
        Some(match severity {
            0..=2 => Self::Fatal,
            3 => Self::Error,
            4 => Self::Warn,
            5 | 6 => Self::Info,
            7 => Self::Debug,
            _ => return None,
        })
    }

    /// What a number in a JSON line means: 0 to 7 as syslog, from 10 on as pino and bunyan (10 trace to 60 fatal; what
    /// lies between belongs to the lower).
    pub const fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            0..=7 => return Self::from_syslog(number),
            10..=19 => Self::Trace,
            20..=29 => Self::Debug,
            30..=39 => Self::Info,
            40..=49 => Self::Warn,
            50..=59 => Self::Error,
            60..=69 => Self::Fatal,
            _ => return None,
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::from_word(word)
            .ok_or_else(|| format!("{word:?} is none of trace, debug, info, warn, error, fatal"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_of_many_loggers_mean_one_scale() {
        for (word, level) in [
            ("INFO", Some(Level::Info)),
            ("Informational", Some(Level::Info)),
            ("notice", Some(Level::Info)),
            ("WARNING", Some(Level::Warn)),
            ("SEVERE", Some(Level::Error)),
            ("dpanic", Some(Level::Fatal)),
            ("Information2", None),
            ("informationally", None),
            ("", None),
            ("É", None),
        ] {
            assert_eq!(Level::from_word(word), level, "{word}");
        }
        let numbers: Vec<_> = [0, 3, 4, 6, 7, 8, 10, 30, 35, 60, 70].map(Level::from_number).into();
        assert_eq!(
            numbers,
            [
                Some(Level::Fatal),
                Some(Level::Error),
                Some(Level::Warn),
                Some(Level::Info),
                Some(Level::Debug),
                None,
                Some(Level::Trace),
                Some(Level::Info),
                Some(Level::Info),
                Some(Level::Fatal),
                None
            ]
        );
    }
}
