//! A gRPC service that is offered as REST, as a route says it and as a request carries it.
//!
//! The control plane writes it into routes, Envoy hands it on in [`CONVERT_HEADER`], the `api-gateway` application reads it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::ServiceName;

/// The header that names a request's [`Conversion`]: written by Envoy, removed from what clients send.
pub const CONVERT_HEADER: &str = "x-mesh-convert";

/// A gRPC service that is offered as REST: what `convert` of a route says.
///
/// Its text is `SERVICE GRPC,GRPC[ DESCRIPTORS]`; equal conversions have equal texts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Conversion {
    /// The System's service that is called.
    pub service: ServiceName,
    /// Full names of gRPC services, sorted.
    pub grpc: Vec<String>,
    /// Name of a descriptor file; `None`: the service tells by reflection.
    pub descriptors: Option<String>,
}

/// Why a text is no conversion.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{CONVERT_HEADER}: {0:?} is not `SERVICE GRPC,GRPC[ DESCRIPTORS]`")]
pub struct ConversionError(String);

impl Conversion {
    /// A conversion; the order of names does not matter.
    pub fn new(service: ServiceName, mut grpc: Vec<String>, descriptors: Option<String>) -> Self {
        grpc.sort();
        grpc.dedup();
        Self { service, grpc, descriptors }
    }
}

impl fmt::Display for Conversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.service, self.grpc.join(","))?;
        self.descriptors.iter().try_for_each(|file| write!(f, " {file}"))
    }
}

impl TryFrom<String> for Conversion {
    type Error = ConversionError;

    fn try_from(text: String) -> Result<Self, ConversionError> {
        text.parse()
    }
}

impl From<Conversion> for String {
    fn from(conversion: Conversion) -> Self {
        conversion.to_string()
    }
}

impl FromStr for Conversion {
    type Err = ConversionError;

    fn from_str(text: &str) -> Result<Self, ConversionError> {
        let wrong = || ConversionError(text.to_owned());
        let mut parts = text.split(' ');
        let (Some(service), Some(grpc)) = (parts.next(), parts.next()) else {
            return Err(wrong());
        };
        let descriptors = parts.next().map(str::to_owned);
        let service = service.parse().map_err(|_| wrong())?;
        let grpc: Vec<String> = grpc.split(',').map(str::to_owned).collect();
        if parts.next().is_some() || grpc.iter().any(String::is_empty) {
            return Err(wrong());
        }
        Ok(Self::new(service, grpc, descriptors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversion_reads_back_from_its_text_whatever_the_order_of_names() {
        let service = || "quotes".parse().unwrap();
        let names = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        let one = Conversion::new(service(), names(["b.B", "a.A"]), None);
        let other = Conversion::new(service(), names(["a.A", "b.B"]), None);
        assert_eq!(one.to_string(), "quotes a.A,b.B");
        assert_eq!(one.to_string().parse(), Ok(other));
        let with_file =
            Conversion::new(service(), vec!["a.A".to_owned()], Some("q.binpb".to_owned()));
        assert_eq!(with_file.to_string().parse(), Ok(with_file));
    }

    #[test]
    fn a_text_that_is_no_conversion_is_named() {
        for text in ["", "quotes", "quotes ", "quotes a.A,", "Quotes! a.A", "quotes a.A f g"] {
            let error = text.parse::<Conversion>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }
}
