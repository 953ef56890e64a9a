//! What was decided, counted.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::decide::Verdict;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

/// The checks' metrics; clones count together.
#[derive(Debug, Clone, Default)]
pub struct AuthzMetrics {
    checks: Family<ByOutcome, Counter>,
}

impl AuthzMetrics {
    /// Makes them and registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "mesh_authz_checks",
            "Requests judged, by what came out: passed, unauthenticated, forbidden or unavailable",
            metrics.checks.clone(),
        );
        metrics
    }

    pub(super) fn count(&self, verdict: &Verdict) {
        let outcome = match verdict {
            Verdict::Pass(_) => "passed",
            Verdict::Refuse(refusal) => match refusal.status {
                401 => "unauthenticated",
                403 => "forbidden",
                _ => "unavailable",
            },
        };
        self.checks.get_or_create(&ByOutcome { outcome }).inc();
    }
}
