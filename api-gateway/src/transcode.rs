//! REST on one side, gRPC on the other.
//!
//! In: an HTTP request and the [`Api`] that it may be for. Out: the gRPC call, and its answer as JSON.
