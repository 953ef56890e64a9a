//! The server without IO: jobs, health and time go in, allocations and deployments come out.

use serde_json::{Value, json};

use super::*;
use crate::agent::deployment::{fail, pause, promote, report_health};
use crate::agent::job::canonical;
use crate::agent::state::{Drain, JobRecord};
use crate::agent::time::SECOND;

mod rollouts;
mod schedulers;
mod world;
