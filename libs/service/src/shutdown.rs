//! Signals: SIGTERM and SIGINT end the process in order, SIGHUP asks it to read its files again.
//!
//! In: the process's signals. Out: a [`CancellationToken`] that every task watches, and a counter of reload requests.
//! Called once, by the program's wiring, which spawns [`Signals::run`] as a task.
//!
//! **Invariants**: a second SIGTERM or SIGINT ends the process at once, so that a hanging stop can be cut short.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Exit status of a process that was told twice to stop: 128 + SIGTERM.
const STOPPED_TWICE: i32 = 143;

/// The signal handlers are in place, and are served while [`Signals::run`] is polled.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    shutdown: CancellationToken,
    reloads: watch::Sender<u64>,
}

/// The handlers cannot be installed.
#[derive(Debug, thiserror::Error)]
#[error("cannot install the signal handlers")]
pub struct SignalError(#[from] io::Error);

impl Signals {
    /// Installs the handlers; from here on a signal no longer ends the process by itself.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub fn install(shutdown: CancellationToken) -> Result<Self, SignalError> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            shutdown,
            reloads: watch::Sender::new(0),
        })
    }

    /// Changes with every SIGHUP; requests that come faster than they are served count as one.
    pub fn reloads(&self) -> watch::Receiver<u64> {
        self.reloads.subscribe()
    }

    /// Serves signals until shutdown, and then the second one that ends the process, for as long as it is polled.
    ///
    /// # Errors
    /// None; the type is that of a task.
    pub async fn run(mut self) -> Result<(), SignalError> {
        loop {
            tokio::select! {
                Some(()) = self.terminate.recv() => self.stop("SIGTERM"),
                Some(()) = self.interrupt.recv() => self.stop("SIGINT"),
                Some(()) = self.hangup.recv() => {
                    tracing::info!("Reloading on SIGHUP");
                    self.reloads.send_modify(|count| *count += 1);
                }
                else => return Ok(()),
            }
        }
    }

    fn stop(&self, signal: &'static str) {
        if self.shutdown.is_cancelled() {
            tracing::warn!(signal, "Stopping at once");
            std::process::exit(STOPPED_TWICE);
        }
        tracing::info!(signal, "Stopping");
        self.shutdown.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal as Kill, raise};
    use std::time::Duration;

    #[tokio::test]
    async fn sighup_asks_for_a_reload_and_sigterm_for_the_end() {
        let shutdown = CancellationToken::new();
        let signals = Signals::install(shutdown.clone()).unwrap();
        let mut reloads = signals.reloads();
        let served = async {
            raise(Kill::SIGHUP).unwrap();
            reloads.changed().await.unwrap();
            assert!(!shutdown.is_cancelled());
            raise(Kill::SIGTERM).unwrap();
            shutdown.cancelled().await;
        };
        tokio::select! {
            _ = signals.run() => panic!("signals end with the process only"),
            done = tokio::time::timeout(Duration::from_secs(10), served) => done.unwrap(),
        }
    }
}
