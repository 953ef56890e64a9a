//! Consul as a registry.
