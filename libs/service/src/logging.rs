//! Logs to standard error, one line per event: JSON for machines or text for people.
//!
//! In: the program's [`LogConfig`] and `RUST_LOG`. Out: the process-wide subscriber of `tracing`.
//! Called once, by `main`. No files, no rotation: whoever runs the process collects its standard error.

use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, fmt, reload};

/// How a line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object per line, facts as its keys.
    #[default]
    Json,
    /// For a terminal.
    Text,
}

/// The `[log]` table of a program's configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// How a line looks.
    pub format: LogFormat,
    /// Least level to print, or directives such as `info,control_plane::xds=debug`. `RUST_LOG` overrides it.
    pub level: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Json, level: "info".to_owned() }
    }
}

/// Why logging cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is not one.
    #[error(
        "log level {level:?} is not understood: write error, warn, info, debug, trace or module=level pairs"
    )]
    Level {
        /// What was given, in the configuration or in `RUST_LOG`.
        level: String,
        /// The directive at fault.
        #[source]
        source: ParseError,
    },
    /// A subscriber exists already.
    #[error("logging was started twice in this process")]
    Twice(#[source] TryInitError),
    /// The level cannot be changed any more.
    #[error("the log level cannot be changed")]
    Change(#[source] reload::Error),
}

/// Changes the level of a running process.
pub struct LogLevel(Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>);

impl std::fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogLevel")
    }
}

impl LogLevel {
    /// Takes the level of a configuration that was read again; `RUST_LOG` still overrides it.
    ///
    /// # Errors
    /// When the level is not understood; the one before stays.
    pub fn change(&self, config: &LogConfig) -> Result<(), LogError> {
        (self.0)(filter(config)?).map_err(LogError::Change)
    }
}

/// Starts logging for the whole process.
///
/// # Errors
/// When the level is not understood, or logging has been started before.
pub fn init(config: &LogConfig) -> Result<LogLevel, LogError> {
    let lines = fmt().with_writer(std::io::stderr).with_env_filter(filter(config)?);
    match config.format {
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_filter_reloading();
            let handle = lines.reload_handle();
            lines.finish().try_init().map_err(LogError::Twice)?;
            Ok(LogLevel(Box::new(move |filter| handle.reload(filter))))
        }
        LogFormat::Text => {
            let lines = lines.with_filter_reloading();
            let handle = lines.reload_handle();
            lines.finish().try_init().map_err(LogError::Twice)?;
            Ok(LogLevel(Box::new(move |filter| handle.reload(filter))))
        }
    }
}

fn filter(config: &LogConfig) -> Result<EnvFilter, LogError> {
    let level = level(config, environment());
    EnvFilter::try_new(&level).map_err(|source| LogError::Level { level, source })
}

fn level(config: &LogConfig, environment: Option<String>) -> String {
    environment.filter(|value| !value.trim().is_empty()).unwrap_or_else(|| config.level.clone())
}

#[expect(clippy::disallowed_methods, reason = "RUST_LOG is the standard name for a log level")]
fn environment() -> Option<String> {
    std::env::var("RUST_LOG").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_overrides_the_configured_level_unless_it_is_empty() {
        let config = LogConfig { level: "warn".to_owned(), ..LogConfig::default() };
        for (environment, expected) in
            [(None, "warn"), (Some(""), "warn"), (Some("debug"), "debug")]
        {
            assert_eq!(level(&config, environment.map(str::to_owned)), expected);
        }
    }

    #[test]
    fn logging_begins_once_and_changes_its_level() {
        let config = LogConfig { level: "warn".to_owned(), ..LogConfig::default() };
        let level = init(&config).unwrap();
        if environment().is_none() {
            assert!(!tracing::enabled!(tracing::Level::DEBUG));
            level.change(&LogConfig { level: "debug".to_owned(), ..config.clone() }).unwrap();
            assert!(tracing::enabled!(tracing::Level::DEBUG));
            let bad = LogConfig { level: "loud=very".to_owned(), ..config.clone() };
            assert!(matches!(level.change(&bad), Err(LogError::Level { .. })));
        }
        let error = init(&config).unwrap_err();
        assert_eq!(error.to_string(), "logging was started twice in this process");
    }
}
