//! What gRPC services look like, and what they look like now.
//!
//! In: server reflection, descriptor files. Out: compiled [`crate::transcode::Api`]s, the newest first.
