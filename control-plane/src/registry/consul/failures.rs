//! What of Consul fails at the moment, as one source: the first failure by subject stands for all.
//!
//! In: failures and their ends, by subject. Out: the `consul` [`RegistryEvent::Source`], when the first changes.
//! Owned by the catalogue.
//!
//! [`RegistryEvent::Source`]: crate::registry::RegistryEvent::Source

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Context, Ended};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Failures {
    failing: BTreeMap<Arc<str>, String>,
    reported: Option<String>,
}

impl Failures {
    /// `subject` fails, or (`None`) no longer.
    pub(super) async fn set(
        &mut self,
        context: &Context,
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
            Some(error) => tracing::warn!(%error, "Consul fails; keeping what it said last"),
            None => tracing::info!("Consul answers again"),
        }
        context.source("consul", self.reported.clone()).await
    }
}
