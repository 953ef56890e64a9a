//! `meshctl deploy` and its siblings against a real Consul and a Nomad, as the built program.
//!
//! A real `nomad` is used where there is one on PATH, else the stand-in: the tests are the same.

mod faults;
mod halves;
mod mesh;
mod ways;
mod yard;
