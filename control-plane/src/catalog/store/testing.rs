//! Builders of registrations and catalogs, for tests of this and later stages.

use std::collections::BTreeMap;

use super::*;
use crate::registry::CheckStatus;

/// Instance `number` of a service: 127.0.0.`number`, port 2`number`.
pub(crate) fn a_registration(name: &str, system: &str, number: u8) -> RegisteredInstance {
    RegisteredInstance {
        id: format!("{name}-{number}"),
        node: "host-1".into(),
        address: format!("127.0.0.{number}"),
        port: 20_000 + u16::from(number),
        tags: vec![],
        meta: BTreeMap::from([
            ("mesh_system".into(), system.into()),
            ("mesh_instance".into(), format!("{name}-{number}")),
        ]),
        status: CheckStatus::Passing,
        weight_passing: 1,
        weight_warning: 1,
    }
}

/// The same with one more meta key.
pub(crate) fn with_meta(
    mut registration: RegisteredInstance,
    key: &str,
    value: &str,
) -> RegisteredInstance {
    registration.meta.insert(key.into(), value.into());
    registration
}

/// The catalog that these services and documents come to.
pub(crate) fn a_catalog(
    services: &[(&str, Vec<RegisteredInstance>)],
    documents: &[(&str, &str)],
) -> Arc<CatalogSnapshot> {
    let mut store = CatalogStore::new(GateTimes { last_good_after_ms: 0, deadline_ms: 0 }, None);
    for (name, instances) in services {
        let event = RegistryEvent::Service { name: (*name).into(), instances: instances.clone() };
        store.apply(event, 0);
    }
    let documents = documents.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
    store.apply(RegistryEvent::Documents(documents), 0);
    store.publish()
}
