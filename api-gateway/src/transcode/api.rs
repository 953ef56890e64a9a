//! A gRPC schema as REST: the bindings of its methods, compiled once.
//!
//! In: a descriptor pool and the names of gRPC services. Out: an [`Api`], or every mistake in their rules.
//!
//! **Invariants**: no two bindings are for the same requests. **Absent**: requests, IO.

use std::fmt;

use http::Method;
use prost_reflect::DescriptorPool;

use super::binding::{self, Binding};
use super::error::{ApiError, ApiProblem};
use super::routes::{Found, NotFound, Routes};

/// All bindings of some gRPC services.
#[derive(Clone)]
pub struct Api {
    pool: DescriptorPool,
    bindings: Vec<Binding>,
    routes: Routes,
}

impl Api {
    /// Compiles the bindings of the named gRPC services.
    pub fn compile(pool: &DescriptorPool, services: &[String]) -> Result<Self, ApiError> {
        let mut problems = Vec::new();
        let mut bindings = Vec::new();
        for name in services {
            let Some(service) = pool.get_service_by_name(name) else {
                let known = pool.services().map(|service| service.full_name().to_owned());
                let known = known.collect();
                problems.push(ApiProblem::UnknownService { service: name.clone(), known });
                continue;
            };
            for rpc in service.methods() {
                binding::compile(&rpc, &mut bindings)
                    .unwrap_or_else(|problem| problems.push(problem));
            }
        }
        let mut routes = Routes::default();
        for (at, binding) in bindings.iter().enumerate() {
            let conflict = routes.insert(&binding.method, &binding.template, at);
            if let Some(other) = conflict.and_then(|other| bindings.get(other)) {
                problems.push(ApiProblem::Conflict {
                    rpc: binding.rpc.full_name().to_owned(),
                    template: binding.template.to_string(),
                    other: other.rpc.full_name().to_owned(),
                    other_template: other.template.to_string(),
                    method: binding.method.to_string(),
                });
            }
        }
        if !problems.is_empty() {
            return Err(ApiError { problems });
        }
        Ok(Self { pool: pool.clone(), bindings, routes })
    }

    /// Every binding, in the order of the schema.
    pub fn bindings(&self) -> &[Binding] {
        &self.bindings
    }

    /// The schema that it was compiled from.
    pub fn pool(&self) -> &DescriptorPool {
        &self.pool
    }

    /// The binding for a request; `path` is without its query, percent-encoded as it came.
    pub fn find<'a>(&'a self, method: &Method, path: &'a str) -> Result<Found<'a>, NotFound> {
        self.routes.find(&self.bindings, method, path)
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.bindings).finish()
    }
}
