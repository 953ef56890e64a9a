//! A stand-in for Nomad in tests and the demo. `agent` is the server and its one client; everything else is `nomad`'s
//! command line against an agent's HTTP API.

fn main() {}
