//! `mesh_upstreams`: what a service calls (design 3.1), for example `quotes, positions.portfolio, ledger-db=15432`.
//!
//! * `quotes`: a service of the own System, or an external Consul service that the System's document allows
//! * `positions.portfolio`: a service of another System, through that System's gateway
//! * `*.portfolio`: everything that the other System's gateway exposes
//! * `ledger-db=15432`: a `tcp` service, offered by the sidecar on 127.0.0.1:15432

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::{ServiceName, SystemName};

/// One thing that a service calls.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Upstream {
    /// A service of the caller's own System, or an external one.
    Local(ServiceName),
    /// A service of another System.
    Remote(ServiceName, SystemName),
    /// Everything that another System's gateway exposes.
    System(SystemName),
}

/// What a service calls, each with the loopback port of its TCP listener where it has one.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Upstreams(BTreeMap<Upstream, Option<u16>>);

/// Why an entry of `mesh_upstreams` is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("upstream {entry:?}: {reason}")]
pub struct UpstreamError {
    /// The entry as written.
    pub entry: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Upstreams {
    /// Every upstream in a fixed order, with the port of its TCP listener.
    pub fn iter(&self) -> impl Iterator<Item = (&Upstream, Option<u16>)> {
        self.0.iter().map(|(upstream, port)| (upstream, *port))
    }

    /// What several instances of one service call together: everything (`None`) when one of them does.
    ///
    /// Where they name different ports for one upstream, the smallest is taken, so that every reader agrees.
    pub fn union<'a>(all: impl Iterator<Item = Option<&'a Self>>) -> Option<Self> {
        let mut union = BTreeMap::new();
        for upstreams in all {
            for (upstream, port) in &upstreams?.0 {
                let known: &mut Option<u16> = union.entry(upstream.clone()).or_default();
                *known = match (*known, *port) {
                    (Some(known), Some(port)) => Some(known.min(port)),
                    (known, port) => known.or(port),
                };
            }
        }
        Some(Self(union))
    }
}

impl FromStr for Upstreams {
    type Err = UpstreamError;

    fn from_str(value: &str) -> Result<Self, UpstreamError> {
        let mut upstreams = BTreeMap::new();
        let mut ports = BTreeMap::new();
        for entry in value.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let error = |reason: String| UpstreamError { entry: entry.to_owned(), reason };
            let (name, port) = match entry.split_once('=') {
                Some((name, port)) => (name.trim(), Some(parse_port(port.trim()).map_err(error)?)),
                None => (entry, None),
            };
            let upstream = parse_name(name).map_err(error)?;
            if port.is_some() && !matches!(upstream, Upstream::Local(_)) {
                return Err(error("a TCP listener is for a service of the own System".to_owned()));
            }
            if let Some(port) = port
                && let Some(other) = ports.insert(port, name.to_owned())
            {
                return Err(error(format!("port {port} is already that of {other}")));
            }
            if upstreams.insert(upstream, port).is_some() {
                return Err(error("named twice".to_owned()));
            }
        }
        Ok(Self(upstreams))
    }
}

fn parse_port(port: &str) -> Result<u16, String> {
    match port.parse() {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(format!("{port:?} is not a port (1 to 65535)")),
    }
}

fn parse_name(name: &str) -> Result<Upstream, String> {
    let service = |name: &str| name.parse::<ServiceName>().map_err(|error| error.to_string());
    match name.split_once('.') {
        None => Ok(Upstream::Local(service(name)?)),
        Some((first, system)) => {
            let system = system.strip_suffix(".mesh").unwrap_or(system);
            let system = system.parse::<SystemName>().map_err(|error| error.to_string())?;
            match first {
                "*" => Ok(Upstream::System(system)),
                _ => Ok(Upstream::Remote(service(first)?, system)),
            }
        }
    }
}

impl TryFrom<String> for Upstreams {
    type Error = UpstreamError;

    fn try_from(value: String) -> Result<Self, UpstreamError> {
        value.parse()
    }
}

impl From<Upstreams> for String {
    fn from(upstreams: Upstreams) -> Self {
        upstreams.to_string()
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(service) => write!(f, "{service}"),
            Self::Remote(service, system) => write!(f, "{service}.{system}"),
            Self::System(system) => write!(f, "*.{system}"),
        }
    }
}

impl fmt::Display for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (upstream, port)) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{upstream}")?;
            if let Some(port) = port {
                write!(f, "={port}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_print_as_they_are_read_in_a_fixed_order() {
        let upstreams: Upstreams =
            "quotes, positions.portfolio.mesh, *.risk ,ledger-db=15432,".parse().unwrap();
        assert_eq!(upstreams.to_string(), "ledger-db=15432, quotes, positions.portfolio, *.risk");
        assert_eq!(upstreams.to_string().parse::<Upstreams>(), Ok(upstreams));
    }

    #[test]
    fn a_bad_entry_is_named_with_its_reason() {
        for (value, message) in [
            ("quotes, Ledger", "upstream \"Ledger\": \"Ledger\" is not a name"),
            ("ledger=0", "upstream \"ledger=0\": \"0\" is not a port"),
            ("a=1, b=1", "upstream \"b=1\": port 1 is already that of a"),
            ("a, a", "upstream \"a\": named twice"),
            ("a.portfolio=1", "a TCP listener is for a service of the own System"),
        ] {
            let error = value.parse::<Upstreams>().unwrap_err().to_string();
            assert!(error.contains(message), "{value}: {error}");
        }
    }
}
