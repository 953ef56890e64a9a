//! How metrics of the agent are made: made and registered in one step, so that a name and a help stand where the field is.
//!
//! Called by each part's own table of metrics. **Absent**: which metrics there are, and what their labels mean.

use prometheus_client::registry::{Metric, Registry, Unit};

/// A metric, registered under a name.
pub(crate) fn registered<M: Metric + Clone + Default>(
    registry: &mut Registry,
    name: &'static str,
    help: &'static str,
) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// The same with a unit, which is written and ends the name.
pub(crate) fn measured<M: Metric + Clone + Default>(
    registry: &mut Registry,
    name: &'static str,
    help: &'static str,
    unit: Unit,
) -> M {
    let metric = M::default();
    registry.register_with_unit(name, help, unit, metric.clone());
    metric
}
