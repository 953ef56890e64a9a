//! The whole agent as a process: a real journald before it, a receiver behind it, and everything that goes wrong between.

mod agent;
mod destinations;
mod disk;
mod journal;
mod kill;
mod reload;
mod tail;
mod unit;
