//! The control plane: watches Consul, builds the mesh, configures every Envoy of it over xDS.
//!
//! ```text
//!  consul ─┐ 1 registry        2 catalog            3 mesh                  4 build, cache         5 streams
//!  file   ─┴─▶ RegistryEvent ─▶ CatalogSnapshot ───▶ MeshModel, RouteTable ─▶ Encoded, ResourceSet ─▶ AdsStream ─▶ Envoy
//!              IO, retries      one writer, gate,    pure                    pure, hashed,          sans-IO core,
//!              bounded mpsc     coalescing, watch                            one per kind, watch    gRPC shell
//! ```
//!
//! **Invariants**: imports point down the spine; IO is at its ends; [`app`] alone starts tasks and owns the clock;
//! [`config`] alone reads the environment.

pub mod app;
pub mod cli;
pub mod config;

pub mod registry;

pub mod catalog;

pub mod mesh;

pub mod xds;

pub mod api;
pub mod metrics;
