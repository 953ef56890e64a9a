//! What of a registry fails at the moment, as one source: the first failure by subject stands for all.
//!
//! In: failures and their ends, by subject. Out: the registry's [`RegistryEvent::Source`], when the first changes.
//! Owned by whoever hears of all of them.
//!
//! [`RegistryEvent::Source`]: crate::registry::RegistryEvent::Source

use std::collections::BTreeMap;
use std::sync::Arc;

use super::outlet::{Ended, Outlet};

/// See the module.
#[derive(Debug)]
pub(super) struct Failures {
    outlet: Outlet,
    source: &'static str,
    failing: BTreeMap<Arc<str>, String>,
    reported: Option<String>,
}

impl Failures {
    pub(super) const fn new(outlet: Outlet, source: &'static str) -> Self {
        Self { outlet, source, failing: BTreeMap::new(), reported: None }
    }

    /// `subject` fails, or (`None`) no longer.
    pub(super) async fn set(
        &mut self,
        subject: Arc<str>,
        error: Option<String>,
    ) -> Result<(), Ended> {
        match error {
            Some(error) => drop(self.failing.insert(subject, error)),
            None => drop(self.failing.remove(&subject)),
        }
        let first = self.failing.values().next();
        if self.reported.as_ref() == first {
            return Ok(());
        }
        self.reported = first.cloned();
        match &self.reported {
            Some(error) => {
                tracing::warn!(source = self.source, %error, "The registry fails; keeping what it said last")
            }
            None => tracing::info!(source = self.source, "The registry answers again"),
        }
        self.outlet.source(self.source, self.reported.clone()).await
    }
}
