//! Clients that nobody here wrote, as judges of the control plane: they are given what it serves, traffic runs through
//! every change, and they say themselves whether anything was refused, missing or lost.
//!
//! | judge | as |
//! |---|---|
//! | [`envoys`] | Envoy in three minor versions, delta and state of the world |
//! | [`grpc`] | gRPC's C core and gRPC for Node, as clients without proxy |

mod envoys;
mod grpc;
