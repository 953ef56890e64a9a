//! Names of Systems and services: lower-case DNS labels, because they become parts of host names.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a string cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{value:?} is not a name: use 1 to 63 of a-z, 0-9, '-' and '_', beginning and ending with a letter or digit"
)]
pub struct NameError {
    /// What was given.
    pub value: String,
}

fn is_label(value: &str) -> bool {
    let edge =
        |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = value.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String", extend("pattern" = r"^[a-z0-9]([-_a-z0-9]{0,61}[a-z0-9])?$"))]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(value: &str) -> Result<Self, NameError> {
                if is_label(value) {
                    Ok(Self(value.into()))
                } else {
                    Err(NameError { value: value.to_owned() })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(value: String) -> Result<Self, NameError> {
                value.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name_type! {
    /// A System: a named group of services that one team owns.
    SystemName
}

name_type! {
    /// A service's name, unique within its System (Consul's service name).
    ServiceName
}

/// A service of the mesh: instances of one Consul name with different `mesh_system` are different services.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServiceKey {
    /// The System it belongs to.
    pub system: SystemName,
    /// Its name within the System.
    pub name: ServiceName,
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.system, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_lower_case_label() {
        let long = "a".repeat(64);
        for (value, is_name) in [
            ("orders", true),
            ("orders-v2", true),
            ("ledger_db", true),
            ("7", true),
            ("", false),
            ("-orders", false),
            ("orders-", false),
            ("Orders", false),
            ("orders.v2", false),
            ("orders/v2", false),
            (long.as_str(), false),
        ] {
            assert_eq!(value.parse::<ServiceName>().is_ok(), is_name, "{value:?}");
        }
    }
}
