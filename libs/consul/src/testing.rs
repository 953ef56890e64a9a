//! Consul for tests: the real one, and a scripted one for answers that the real one gives too rarely.
//!
//! Used by the tests of this crate and of the control plane, through the feature `testing`; never by a binary.
//!
//! **Invariants**: loopback only, on ports that the kernel chose; a server ends with its value.

mod process;
mod script;

pub use process::{ConsulOptions, ConsulProcess};
pub use script::{Call, Reply, ScriptedConsul};

/// Installs rustls' ring provider, once per process.
pub fn install_crypto_provider() {
    // A second installation fails, and the first one stays in force: both are what a test wants.
    drop(rustls::crypto::ring::default_provider().install_default());
}
