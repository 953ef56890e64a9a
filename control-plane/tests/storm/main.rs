//! The control plane's own program under storms and bad clients: they are served or refused, and others do not notice.
//!
//! Figures are printed; what is asserted about time and memory is wide, and catches a class of failure on any machine.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::panic, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stdout, reason = "figures are for who reads the test's output")]

mod abuse;
mod crowd;
#[path = "../xds/messages.rs"]
mod messages;
mod plane;
mod probe;
mod proxy;
