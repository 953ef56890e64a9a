//! The one writer of the state: each change and all that follows from it become one new state.
//!
//! In: closures that change a copy. Out: a channel whose value is always a whole state; with a file, the state is on disk
//! before a change is answered, so that a killed agent comes back with it.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use super::core;
use super::evaluate::Chance;
use super::job::Nanos;
use super::ports::Ports;
use super::state::State;

/// The state and its writer.
#[derive(Debug)]
pub(crate) struct Store {
    current: watch::Sender<Arc<State>>,
    /// Held while a change is made.
    writer: Mutex<()>,
    ports: Ports,
    file: Option<PathBuf>,
}

impl Store {
    /// An empty state, or what `file` holds.
    pub(crate) fn open(file: Option<PathBuf>) -> io::Result<Self> {
        let state = match &file {
            Some(path) if path.exists() => {
                let text = std::fs::read(path)?;
                serde_json::from_slice(&text).map_err(|error| {
                    io::Error::other(format!(
                        "{} is not a state of this agent: {error}",
                        path.display()
                    ))
                })?
            }
            _ => State::default(),
        };
        let (current, _) = watch::channel(Arc::new(state));
        Ok(Self { current, writer: Mutex::new(()), ports: Ports::claim()?, file })
    }

    /// The state now.
    pub(crate) fn read(&self) -> Arc<State> {
        Arc::clone(&self.current.borrow())
    }

    /// Follows the state.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<State>> {
        self.current.subscribe()
    }

    /// Changes the state, and lets everything happen that follows.
    pub(crate) fn change<R>(
        &self,
        change: impl FnOnce(&mut State, Nanos, &mut dyn Chance) -> R,
    ) -> R {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut dice = Dice(&self.ports);
        let (before, now) = (self.read(), now());
        let mut state = State::clone(&before);
        let result = change(&mut state, now, &mut dice);
        core::step(&mut state, now, &mut dice);
        if state.index != before.index {
            self.save(&state);
            self.current.send_replace(Arc::new(state));
        }
        result
    }

    /// Tries a change without keeping it; gives what `ask` reads from its outcome.
    pub(crate) fn suppose<R>(
        &self,
        ask: impl FnOnce(&mut State, Nanos, &mut dyn Chance) -> R,
    ) -> R {
        let mut state = State::clone(&self.read());
        ask(&mut state, now(), &mut Dice(&self.ports))
    }

    fn save(&self, state: &State) {
        let Some(file) = &self.file else { return };
        let new = file.with_extension("new");
        let written = serde_json::to_vec(state)
            .map_err(io::Error::other)
            .and_then(|text| std::fs::write(&new, text))
            .and_then(|()| std::fs::rename(&new, file));
        if let Err(error) = written {
            tracing::error!(file = %file.display(), %error, "State is not saved: a restart would lose this change");
        }
    }
}

/// The time in nanoseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the agent's one clock")]
pub(crate) fn now() -> Nanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Nanos::try_from(since.as_nanos()).unwrap_or(Nanos::MAX)
}

#[derive(Debug)]
struct Dice<'a>(&'a Ports);

impl Chance for Dice<'_> {
    fn id(&mut self) -> String {
        uuid()
    }

    fn port(&mut self, address: IpAddr, is_taken: &dyn Fn(u16) -> bool) -> Option<u16> {
        self.0.find(address, u16::from_le_bytes(random()), is_taken)
    }
}

/// A random UUID (RFC 9562, version 4).
pub(crate) fn uuid() -> String {
    let mut bytes: [u8; 16] = random();
    if let Some(byte) = bytes.get_mut(6) {
        *byte = (*byte & 0x0f) | 0x40;
    }
    if let Some(byte) = bytes.get_mut(8) {
        *byte = (*byte & 0x3f) | 0x80;
    }
    let mut text = String::with_capacity(36);
    for (position, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&position) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[expect(clippy::expect_used, reason = "a kernel without randomness runs nothing")]
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the kernel's random numbers");
    bytes
}
