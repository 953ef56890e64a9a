//! What one type's resources mean to another's: the gates of [`crate::xds::order::PUSH_ORDER`], and warming.
//!
//! In: the states of the types. Out: whether a resource may go, or what is owed again.
//!
//! **Invariants**: only what the proxy holds or was sent counts; nothing here sends or waits.

use crate::xds::resources::{ResourceName, ResourceSet};

use super::draft::Passing;
use super::type_state::{Item, Need, TypeState};

/// Whether every cluster that a listener or route names is held by the proxy.
///
/// Clusters that are not in the set, that the proxy refuses or has yet to ask for, are not waited for; nor is CDS, where the proxy does
/// not take all of it: proxyless gRPC clients ask for clusters only after their routes.
pub(super) fn has_clusters(passing: &Passing<'_>, clusters: &TypeState, set: &ResourceSet) -> bool {
    let Passing::Put(content) = passing else { return true };
    let is_missing = |name: &ResourceName| {
        set.clusters.resources.get(name).is_some_and(|cluster| {
            clusters.is_due(name)
                && !clusters.held.contains_key(name)
                && clusters.refusal(name, cluster.version).is_none()
        })
    };
    !clusters.subscription.is_wildcard() || !content.clusters.iter().any(is_missing)
}

/// Whether nothing speaks of a cluster any more.
///
/// What a proxy brought from another stream may be referred to by listeners and routes that it has yet to ask for.
pub(super) fn may_leave(
    passing: &Passing<'_>,
    extensions: &TypeState,
    listeners: &TypeState,
    routes: &TypeState,
) -> bool {
    let Passing::Remove { name, is_sent_here } = passing else { return true };
    let speaks = |state: &TypeState| !state.is_settled() || state.names_cluster(name);
    // Most proxies never ask for extensions.
    !speaks(extensions)
        && [listeners, routes]
            .into_iter()
            .all(|state| !speaks(state) && (*is_sent_here || state.subscription.is_asked()))
}

/// Envoy warms a cluster that it was sent anew, until endpoints and secrets come again.
pub(super) fn warm_again(clusters: &[Item], endpoints: &mut TypeState, secrets: &mut TypeState) {
    for item in clusters.iter().filter(|item| item.content.is_some()) {
        if endpoints.subscription.covers(&item.name) {
            endpoints.need(&item.name, Need::Always);
        }
    }
    if clusters.iter().any(|item| item.content.is_some()) {
        let names: Vec<ResourceName> = secrets.subscription.named().iter().cloned().collect();
        for name in names {
            secrets.need(&name, Need::Always);
        }
    }
}
