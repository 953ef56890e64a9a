//! Catalog → [`MeshModel`], reusing whatever the change did not touch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use contract::api::Problem;
use contract::name::{ServiceName, SystemName};
use contract::registration::Role;
use contract::system::{Canary, SystemDocument, ValueMatch};

use crate::catalog::{CatalogSnapshot, ExternalInstance, ServiceSpec, SystemCatalog};
use crate::mesh::exposure::exposed_routes;
use crate::mesh::policy::{self, call_policy};
use crate::mesh::target::external_model;
use crate::mesh::{
    CanaryRule, Directory, Entrance, ExposedRoute, ExternalModel, HeaderCondition, MeshModel,
    Origin, ServiceModel, SystemModel, TRACK_HEADER,
};

/// Derives the model of a snapshot from the model before.
///
/// A System whose specs and document are the same `Arc`s keeps its model, so that an endpoint that flaps costs
/// nothing here; the directory and what is exposed keep their `Arc` while they are equal.
pub fn derive(before: &MeshModel, catalog: Arc<CatalogSnapshot>) -> MeshModel {
    let same_externals = Arc::ptr_eq(&before.catalog.externals, &catalog.externals);
    let systems: BTreeMap<SystemName, Arc<SystemModel>> = catalog
        .systems
        .iter()
        .map(|(name, system)| {
            let known = before.catalog.systems.get(name).zip(before.systems.get(name));
            if let Some((old, model)) = known
                && has_same_structure(old, system)
                && (same_externals || model.externals.is_empty())
            {
                return (name.clone(), model.clone());
            }
            let new = build_system(name, system, &catalog.externals);
            let kept = known.map(|(_, model)| model).filter(|model| ***model == new).cloned();
            (name.clone(), kept.unwrap_or_else(|| Arc::new(new)))
        })
        .collect();
    let (directory, exposed) = if same_systems(&before.systems, &systems) {
        (before.directory.clone(), before.exposed.clone())
    } else {
        let directory = kept_if_equal(&before.directory, build_directory(&systems));
        (directory, kept_if_equal(&before.exposed, build_exposed(&systems)))
    };
    MeshModel { generation: catalog.generation, systems, directory, exposed, catalog }
}

fn kept_if_equal<T: PartialEq>(before: &Arc<T>, new: T) -> Arc<T> {
    if **before == new { before.clone() } else { Arc::new(new) }
}

fn has_same_structure(old: &Arc<SystemCatalog>, new: &Arc<SystemCatalog>) -> bool {
    Arc::ptr_eq(old, new)
        || (Arc::ptr_eq(&old.specs, &new.specs)
            && match (&old.document, &new.document) {
                (None, None) => true,
                (Some(old), Some(new)) => Arc::ptr_eq(old, new),
                _ => false,
            })
}

fn same_systems(
    old: &BTreeMap<SystemName, Arc<SystemModel>>,
    new: &BTreeMap<SystemName, Arc<SystemModel>>,
) -> bool {
    old.len() == new.len()
        && old.iter().zip(new).all(|((a, old), (b, new))| a == b && Arc::ptr_eq(old, new))
}

fn build_system(
    name: &SystemName,
    system: &SystemCatalog,
    externals: &BTreeMap<ServiceName, Arc<[ExternalInstance]>>,
) -> SystemModel {
    let mut problems = Vec::new();
    let document = system.document.as_deref();
    let services: BTreeMap<ServiceName, ServiceModel> = system
        .specs
        .values()
        .filter(|spec| spec.role == Role::Service)
        .map(|spec| (spec.key.name.clone(), build_service(spec, document)))
        .collect();
    let externals = document
        .map(|document| build_externals(document, &services, externals, &mut problems))
        .unwrap_or_default();
    let routes = exposed_routes(document, &system.specs, &services, &mut problems);
    let doors = system
        .specs
        .values()
        .filter(|spec| spec.role == Role::Gateway)
        .fold((false, false), |(_, ingress), spec| (true, ingress || spec.has_ingress));
    problems.sort();
    SystemModel {
        name: name.clone(),
        services,
        externals,
        routes,
        has_gateway: doors.0,
        has_ingress: doors.1,
        document: system.document.clone(),
        problems,
    }
}

fn build_service(spec: &ServiceSpec, document: Option<&SystemDocument>) -> ServiceModel {
    let tracks = document.and_then(|document| document.tracks.as_ref());
    let written = document.and_then(|document| document.services.get(&spec.key.name));
    ServiceModel {
        key: spec.key.clone(),
        protocol: spec.protocol,
        policy: call_policy(spec.protocol, written),
        canary: spec.has_canary.then(|| {
            let own = written.and_then(|policy| policy.canary.as_ref());
            canary_rule(own, tracks.map(|tracks| &tracks.canary))
        }),
        upstreams: spec.upstreams.clone(),
        origin: match (written, document) {
            (Some(_), Some(document)) => {
                Origin::Document(document.name.clone(), format!("services.{}", spec.key.name))
            }
            _ => Origin::Registration(spec.key.clone(), "mesh_system"),
        },
    }
}

/// What the document says of the service goes before what it says of the System; a header is the System's where the
/// service has none.
fn canary_rule(own: Option<&Canary>, of_system: Option<&Canary>) -> CanaryRule {
    let header = |canary: Option<&Canary>| canary.and_then(|canary| canary.header.clone());
    CanaryRule {
        percent: own.or(of_system).map_or(0, |canary| canary.percent),
        header: header(own)
            .or_else(|| header(of_system))
            .map_or(HeaderCondition::OneOf(TRACK_HEADER, vec!["canary".to_owned()]), |header| {
                HeaderCondition::Is(header.to_ascii_lowercase(), ValueMatch::Present(true))
            }),
    }
}

fn build_externals(
    document: &SystemDocument,
    services: &BTreeMap<ServiceName, ServiceModel>,
    externals: &BTreeMap<ServiceName, Arc<[ExternalInstance]>>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<ServiceName, ExternalModel> {
    let mut allowed = BTreeMap::new();
    for (index, name) in document.external.iter().enumerate() {
        let mut report = |reason: String| {
            problems.push(Problem {
                subject: format!("document {}", document.name),
                reason: format!("external[{index}]: {reason}"),
            });
        };
        if services.contains_key(name) {
            report(format!("{name} is a service of the System itself, which goes before"));
            continue;
        }
        let model = external_model(externals.get(name));
        if model == ExternalModel::Missing {
            report(format!(
                "no registration named {name} outside the mesh; it answers 503 until one is"
            ));
        }
        allowed.insert(name.clone(), model);
    }
    allowed
}

fn build_exposed(
    systems: &BTreeMap<SystemName, Arc<SystemModel>>,
) -> BTreeMap<SystemName, BTreeSet<ServiceName>> {
    let exposed = |system: &SystemModel| {
        let routes = system.routes.iter().filter(|route| route.is_for_systems());
        routes.flat_map(ExposedRoute::services).cloned().collect()
    };
    systems.iter().map(|(name, system)| (name.clone(), exposed(system))).collect()
}

fn build_directory(systems: &BTreeMap<SystemName, Arc<SystemModel>>) -> Directory {
    let mut directory = Directory::default();
    for (name, system) in systems {
        directory.entrances.insert(
            name.clone(),
            Entrance {
                has_gateway: system.has_gateway,
                has_ingress: system.has_ingress,
                has_document: system.document.is_some(),
                maintenance: system
                    .document
                    .as_ref()
                    .and_then(|document| document.maintenance.clone())
                    .map(Arc::new),
                traced: policy::traced(system.document.as_deref()),
            },
        );
        for host in system.document.iter().flat_map(|document| &document.hosts) {
            match directory.hosts.get(&host.0) {
                Some(taken) if taken != name => directory.problems.push(Problem {
                    subject: format!("document {name}"),
                    reason: format!(
                        "host {} is that of System {taken}, which gets it; remove one",
                        host.0
                    ),
                }),
                _ => {
                    directory.hosts.insert(host.0.clone(), name.clone());
                }
            }
        }
    }
    directory
}
