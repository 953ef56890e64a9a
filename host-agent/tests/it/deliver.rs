//! The outputs against servers: an independent one, and one that misbehaves as told.

mod faults;
mod peer;
mod poison;
mod sender;
mod servers;
