//! What a proxy says on its stream, in one form for both variants of the protocol.
//!
//! In: fields of decoded discovery requests, from [`crate::xds::wire`]. Out: [`Request`], within the limits.
//!
//! **Invariants**: a request that passed [`Request::check`] has a bounded number of names of bounded length.

use std::collections::BTreeMap;

use crate::xds::resources::ResourceType;

/// Names that one stream may subscribe to, all types together.
pub const MAX_NAMES: usize = 100_000;
/// Bytes of a resource name.
pub const MAX_NAME_LENGTH: usize = 512;

/// The name that stands for every resource of a type.
pub(super) const WILDCARD: &str = "*";

/// The variant of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Incremental: only differences travel.
    Delta,
    /// State of the world: listeners and clusters travel whole.
    Sotw,
}

impl Mode {
    /// The word for it in the API and in metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delta => "delta",
            Self::Sotw => "sotw",
        }
    }
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The type it speaks of.
    pub kind: ResourceType,
    /// The response that it answers.
    pub answers: Answers,
    /// Why that response was refused: the proxy's own words.
    pub error: Option<String>,
    /// What it subscribes to.
    pub names: Names,
}

/// Which response a request answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// None: the proxy speaks of its own accord.
    Nothing,
    /// The response with this nonce.
    Nonce(u64),
    /// A response that this stream never sent.
    Foreign,
}

/// What a request subscribes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    /// Delta: changes of the subscription.
    Change {
        /// Names to add.
        subscribe: Vec<String>,
        /// Names to drop.
        unsubscribe: Vec<String>,
        /// What the proxy holds from an earlier stream: name → version. Counts in the first request of a type only.
        initial: BTreeMap<String, String>,
    },
    /// State of the world: the whole subscription.
    Whole {
        /// Every name.
        names: Vec<String>,
        /// The version that the proxy has accepted last, on this or an earlier stream.
        version: String,
    },
}

/// A request that cannot be served; the stream ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// More names than a stream may have.
    #[error(
        "{kind} subscription of {count} names exceeds {MAX_NAMES} for one stream; subscribe to fewer resources"
    )]
    TooManyNames {
        /// The type of the request.
        kind: &'static str,
        /// Names it would have led to.
        count: usize,
    },
    /// A name that is too long.
    #[error(
        "{kind} name of {length} bytes exceeds {MAX_NAME_LENGTH}; it begins with {beginning:?}"
    )]
    NameTooLong {
        /// The type of the request.
        kind: &'static str,
        /// The name's length.
        length: usize,
        /// Its first characters.
        beginning: String,
    },
}

impl Request {
    /// Checks the limits; `others` names are subscribed already and stay so.
    pub(super) fn check(&self, others: usize) -> Result<(), RequestError> {
        let kind = self.kind.as_str();
        let (count, mut names): (usize, Box<dyn Iterator<Item = &String>>) = match &self.names {
            Names::Change { subscribe, unsubscribe, initial } => (
                subscribe.len().max(initial.len()).max(unsubscribe.len()),
                Box::new(subscribe.iter().chain(unsubscribe).chain(initial.keys())),
            ),
            Names::Whole { names, .. } => (names.len(), Box::new(names.iter())),
        };
        let count = others + count;
        if count > MAX_NAMES {
            return Err(RequestError::TooManyNames { kind, count });
        }
        match names.find(|name| name.len() > MAX_NAME_LENGTH) {
            None => Ok(()),
            Some(name) => Err(RequestError::NameTooLong {
                kind,
                length: name.len(),
                beginning: name.chars().take(40).collect(),
            }),
        }
    }
}
