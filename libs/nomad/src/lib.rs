//! A client for Nomad's HTTP API.
