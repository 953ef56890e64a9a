//! The relay of metrics, beside real exporters, a real Prometheus, and exporters that behave as badly as they can.

mod bad;
mod behaviour;
mod callers;
mod harness;
mod monitoring;
mod native;
mod protobuf;
mod real;
mod sharing;
mod vectors;
