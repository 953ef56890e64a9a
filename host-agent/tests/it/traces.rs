//! Spans from senders to back ends: real senders, an agent of its own for each test, and a back end that can fail.

mod agent;
mod answers;
mod back_ends;
mod fairness;
mod kill;
mod namespace;
mod sampling;
mod senders;
