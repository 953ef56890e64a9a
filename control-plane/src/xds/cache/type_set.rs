//! From one [`TypeSet`] to the next: what changed, by name, and nothing new where nothing did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::xds::resources::{Encoded, ResourceName, TypeSet};

/// The set that follows `before` with these resources; `before` itself when all versions are equal.
pub fn follow(
    before: &Arc<TypeSet>,
    resources: BTreeMap<ResourceName, Arc<Encoded>>,
) -> Arc<TypeSet> {
    follow_on_demand(before, resources, BTreeSet::new())
}

/// [`follow`], with resources that only go to who asks for them by name.
pub fn follow_on_demand(
    before: &Arc<TypeSet>,
    mut resources: BTreeMap<ResourceName, Arc<Encoded>>,
    on_demand: BTreeSet<ResourceName>,
) -> Arc<TypeSet> {
    let mut changed: Vec<ResourceName> =
        before.resources.keys().filter(|name| !resources.contains_key(*name)).cloned().collect();
    for (name, resource) in &mut resources {
        match before.resources.get(name) {
            // Equal bytes are held once, whoever built them.
            Some(known) if known.version == resource.version => *resource = known.clone(),
            _ => changed.push(name.clone()),
        }
    }
    changed.extend(before.on_demand.symmetric_difference(&on_demand).cloned());
    if changed.is_empty() {
        return before.clone();
    }
    changed.sort_unstable();
    changed.dedup();
    next(before, changed, resources, Arc::new(on_demand))
}

/// The set that follows `before` with some of its resources replaced; `before` itself when it has none of them.
pub fn replace(before: &Arc<TypeSet>, new: &BTreeMap<ResourceName, Arc<Encoded>>) -> Arc<TypeSet> {
    let present: Vec<(&ResourceName, &Arc<Encoded>)> = new
        .iter()
        .filter(|(name, new)| {
            before.resources.get(*name).is_some_and(|known| known.version != new.version)
        })
        .collect();
    if present.is_empty() {
        return before.clone();
    }
    let mut resources = before.resources.clone();
    let changed = present
        .into_iter()
        .map(|(name, new)| {
            resources.insert(name.clone(), new.clone());
            name.clone()
        })
        .collect();
    next(before, changed, resources, before.on_demand.clone())
}

fn next(
    before: &TypeSet,
    changed: Vec<ResourceName>,
    resources: BTreeMap<ResourceName, Arc<Encoded>>,
    on_demand: Arc<BTreeSet<ResourceName>>,
) -> Arc<TypeSet> {
    Arc::new(TypeSet {
        generation: before.generation + 1,
        previous: before.generation,
        changed: changed.into(),
        resources,
        on_demand,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xds::resources::{ResourceType, Version};

    fn resources(pairs: &[(&str, &str)]) -> BTreeMap<ResourceName, Arc<Encoded>> {
        let resource = |name: &str, bytes: &str| {
            Arc::new(Encoded {
                kind: ResourceType::Cluster,
                name: name.into(),
                version: Version::of(bytes.as_bytes()),
                any: bytes.to_owned().into(),
                clusters: Arc::from([]),
                requirements: BTreeSet::new(),
            })
        };
        pairs.iter().map(|(name, bytes)| ((*name).into(), resource(name, bytes))).collect()
    }

    #[test]
    fn a_set_names_what_was_added_changed_and_removed() {
        let first = follow(&Arc::default(), resources(&[("a", "1"), ("b", "1"), ("c", "1")]));
        let second = follow(&first, resources(&[("b", "2"), ("c", "1"), ("d", "1")]));
        let changed: Vec<&str> = second.changed.iter().map(AsRef::as_ref).collect();
        assert_eq!(changed, ["a", "b", "d"]);
        assert_eq!((second.previous, second.generation), (1, 2));
        assert!(Arc::ptr_eq(&first.resources["c"], &second.resources["c"]));
    }

    #[test]
    fn an_equal_set_is_the_same_set() {
        let first = follow(&Arc::default(), resources(&[("a", "1")]));
        assert!(Arc::ptr_eq(&first, &follow(&first, resources(&[("a", "1")]))));
        assert!(Arc::ptr_eq(&first, &replace(&first, &resources(&[("b", "1")]))));
    }

    #[test]
    fn replacing_touches_only_what_is_there() {
        let first = follow(&Arc::default(), resources(&[("a", "1"), ("b", "1")]));
        let second = replace(&first, &resources(&[("b", "2"), ("z", "1")]));
        assert_eq!(second.changed.len(), 1);
        assert_eq!(second.resources, resources(&[("a", "1"), ("b", "2")]));
    }
}
