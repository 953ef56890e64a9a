//! The protocol's rules, a sentence each, against the state machine alone.

mod conformance;
mod delta;
mod model;
mod nack;
mod on_demand;
mod order;
mod proxy;
mod sotw;
mod tokens;
