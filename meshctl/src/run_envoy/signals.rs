//! Signals that a process in front of Envoy gets.

use nix::sys::signal::Signal;
use tokio::signal::unix::{self, SignalKind, signal};

use crate::failure::Failure;

/// What a signal asks for.
#[derive(Debug)]
pub(super) enum Told {
    /// SIGTERM or SIGINT: what Nomad's drivers, systemd and a terminal send.
    Stop,
    /// To be passed on to Envoy, such as SIGUSR1, on which it opens its logs again.
    PassOn(Signal),
}

/// The signals that are listened to, from the moment of [`Signals::listen`].
#[derive(Debug)]
pub(super) struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hang_up: unix::Signal,
    user_1: unix::Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, Failure> {
        let on = |kind| {
            signal(kind)
                .map_err(|error| Failure::Refused(format!("cannot listen to signals: {error}")))
        };
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hang_up: on(SignalKind::hangup())?,
            user_1: on(SignalKind::user_defined1())?,
        })
    }

    /// The next signal. Signals never end: a stream that did would be polled for ever, so it counts as a stop.
    pub(super) async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hang_up.recv() => Told::PassOn(Signal::SIGHUP),
            _ = self.user_1.recv() => Told::PassOn(Signal::SIGUSR1),
        }
    }

    /// The next request to stop.
    pub(super) async fn stop(&mut self) {
        while !matches!(self.next().await, Told::Stop) {}
    }
}
