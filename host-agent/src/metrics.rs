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
    made(registry, name, help, None)
}

/// The same with a unit, which is written and ends the name.
pub(crate) fn measured<M: Metric + Clone + Default>(
    registry: &mut Registry,
    name: &'static str,
    help: &'static str,
    unit: Unit,
) -> M {
    made(registry, name, help, Some(unit))
}

pub(crate) fn made<M: Metric + Clone + Default>(
    registry: &mut Registry,
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
) -> M {
    let metric = M::default();
    match unit {
        Some(unit) => registry.register_with_unit(name, help, unit, metric.clone()),
        None => registry.register(name, help, metric.clone()),
    }
    metric
}

/// A table of metrics that share their labels: the families, and the handles of one value of the labels, looked up once.
macro_rules! table {
    (
        $(#[$about:meta])*
        $families:ident by $label:ty => $handles:ident {
            $($field:ident: $kind:ty = $name:literal $(in $unit:expr)?, $help:literal;)*
        }
    ) => {
        #[derive(Debug, Clone)]
        struct $families {
            $($field: prometheus_client::metrics::family::Family<$label, $kind>,)*
        }

        impl $families {
            fn register(registry: &mut prometheus_client::registry::Registry) -> Self {
                Self { $($field: crate::metrics::made(registry, $name, $help, None$(.or(Some($unit)))?),)* }
            }

            fn of(&self, label: &$label) -> $handles {
                $handles { $($field: self.$field.get_or_create_owned(label),)* }
            }
        }

        $(#[$about])*
        #[derive(Debug, Clone)]
        pub struct $handles {
            $(#[doc = $help] pub $field: $kind,)*
        }
    };
}
pub(crate) use table;
