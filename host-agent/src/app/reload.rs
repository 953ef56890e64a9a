//! SIGHUP: the configuration file is read again.
//!
//! Rules, routes and destinations of logs take effect at once, and so does the log level. What is left waits for the next
//! start. A file that is not good changes nothing.

use std::path::PathBuf;
use std::sync::Arc;

use service::ErrorChain;
use service::logging::LogLevel;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::config::Config;
use crate::logs::config::LogsConfig;

/// Where the configuration came from, and what a new one changes by itself.
#[derive(Debug)]
pub(super) struct Reload {
    /// The configuration file.
    pub(super) file: Option<PathBuf>,
    /// The log level.
    pub(super) level: LogLevel,
}

impl Reload {
    /// Serves reload requests for as long as it is polled. `is_on`: the logs part runs.
    pub(super) async fn run(
        self,
        mut requests: watch::Receiver<u64>,
        logs: watch::Sender<Arc<LogsConfig>>,
        is_on: bool,
    ) {
        while requests.changed().await.is_ok() {
            let new = match Config::read(self.file.as_deref()) {
                Ok(new) => new,
                Err(error) => {
                    warn!(error = %ErrorChain(&error), "Keeping the configuration in force");
                    continue;
                }
            };
            if let Err(error) = self.level.change(&new.log) {
                warn!(error = %ErrorChain(&error), "Keeping the log level in force");
            }
            if new.logs.state_dir != logs.borrow().state_dir {
                warn!(
                    "Keeping the configuration in force: logs.state_dir changes with a restart only"
                );
                continue;
            }
            if !is_on && !new.logs.destinations.is_empty() {
                warn!("The first destination of logs needs a restart");
            }
            logs.send_replace(new.logs);
            info!(level = new.log.level, "Reloaded the configuration");
        }
    }
}
