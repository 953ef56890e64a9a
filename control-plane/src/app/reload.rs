//! SIGHUP: the configuration file is read again.
//!
//! The log level takes effect at once; Consul's token file is read with each request anyway. Everything else is named
//! in the log as waiting for the next start: a port or a registry is not exchanged under running streams.

use std::path::PathBuf;

use service::ErrorChain;
use service::logging::LogLevel;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::Config;

/// What a reload compares with and changes.
#[derive(Debug)]
pub(super) struct Reload {
    /// The configuration file.
    pub(super) file: Option<PathBuf>,
    /// What the process was started with.
    pub(super) in_force: Config,
    /// The log level.
    pub(super) level: LogLevel,
}

impl Reload {
    /// Serves reload requests until shutdown.
    pub(super) async fn run(self, mut requests: watch::Receiver<u64>, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = requests.changed() => if changed.is_err() { return },
            }
            self.reload();
        }
    }

    fn reload(&self) {
        let new = match Config::read(self.file.as_deref()) {
            Ok(new) => new,
            Err(error) => {
                warn!(error = %ErrorChain(&error), "Keeping the configuration in force");
                return;
            }
        };
        if let Err(error) = self.level.change(&new.log) {
            warn!(error = %ErrorChain(&error), "Keeping the log level in force");
        }
        let rest = |config: &Config| {
            format!("{:?}", Config { log: self.in_force.log.clone(), ..config.clone() })
        };
        if rest(&new) == rest(&self.in_force) {
            info!(level = new.log.level, "Reloaded the configuration");
        } else {
            warn!(
                level = new.log.level,
                "Reloaded the log level; other changes wait for the next start"
            );
        }
    }
}
