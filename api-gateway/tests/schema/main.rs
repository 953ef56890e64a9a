//! Schemas of real gRPC servers, the document that describes them, and the pages that show them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::panic, reason = "a test that cannot go on fails")]
#![expect(clippy::indexing_slicing, reason = "a document that lacks the place fails the test")]

mod file;
mod harness;
mod lies;
mod openapi;
mod pages;
mod reflection;
mod rolling;
