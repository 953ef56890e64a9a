//! What happens in a play: changes of the world, and what both ends do.

use std::collections::BTreeSet;

use proptest::prelude::*;

/// What happens next.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Cluster, and endpoints of its name, get this content; `None`: they leave.
    Service(u8, Option<u8>),
    /// New endpoints of a service that is there.
    Endpoints(u8, u8),
    /// Routes `r` name these services, as far as they exist.
    Routes(BTreeSet<u8>),
    /// Routes ask for these token requirements, and filter `f` has them, with this content; the client refuses such
    /// routes or takes them.
    Rules(BTreeSet<u8>, u8, bool),
    /// A listener gets this content; `None`: it leaves.
    Listener(u8, Option<u8>),
    /// The secret gets this content; `None`: it leaves.
    Secret(Option<u8>),
    /// The client begins or ceases to ask for endpoints of this name, whether or not there are any.
    Curious(u8),
    /// The client begins or ceases to ask for the secret.
    Secretive,
    /// The stream sends a response, if it has one.
    Send,
    /// The client answers the oldest response.
    Answer,
    /// The stream breaks; the client comes back with what it has.
    Reconnect,
    /// Seconds pass.
    Wait(u8),
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let content = || prop_oneof![4 => (0..4_u8).prop_map(Some), 1 => Just(None)];
    let step = prop_oneof![
        4 => (0..5_u8, content()).prop_map(|(n, content)| Step::Service(n, content)),
        3 => (0..5_u8, 0..4_u8).prop_map(|(n, content)| Step::Endpoints(n, content)),
        2 => proptest::collection::btree_set(0..5_u8, 0..4).prop_map(Step::Routes),
        2 => (proptest::collection::btree_set(0..4_u8, 0..3), 0..4_u8, proptest::bool::weighted(0.2))
            .prop_map(|(asked, content, is_bad)| Step::Rules(asked, content, is_bad)),
        2 => (0..3_u8, content()).prop_map(|(n, content)| Step::Listener(n, content)),
        1 => content().prop_map(Step::Secret),
        3 => (0..7_u8).prop_map(Step::Curious),
        1 => Just(Step::Secretive),
        8 => Just(Step::Send),
        6 => Just(Step::Answer),
        1 => Just(Step::Reconnect),
        1 => (0..12_u8).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Content 3 is one that the client refuses.
pub(super) fn text(content: u8) -> String {
    if content == 3 { "bad".to_owned() } else { content.to_string() }
}
