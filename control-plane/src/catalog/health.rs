//! Check states and weights → whether traffic may go to an instance, and how much.

use crate::catalog::Health;
use crate::registry::{CheckStatus, RegisteredInstance};

/// Health and load-balancing weight of a registration.
///
/// `own_weight` is `mesh_weight`, which goes before Consul's `Weights`.
/// A weight of 0 in the state that the checks are in means "no new traffic": draining.
pub fn health_and_weight(instance: &RegisteredInstance, own_weight: Option<u32>) -> (Health, u32) {
    let weight = own_weight.unwrap_or(match instance.status {
        CheckStatus::Warning => instance.weight_warning,
        CheckStatus::Passing | CheckStatus::Maintenance | CheckStatus::Critical => {
            instance.weight_passing
        }
    });
    let health = match instance.status {
        CheckStatus::Critical => Health::Unhealthy,
        CheckStatus::Maintenance => Health::Draining,
        CheckStatus::Passing | CheckStatus::Warning if weight == 0 => Health::Draining,
        CheckStatus::Passing | CheckStatus::Warning => Health::Healthy,
    };
    // Envoy wants at least 1, and the sum of a locality below 2^32.
    (health, weight.clamp(1, 65_535))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::store::testing::a_registration;

    #[test]
    fn check_states_and_weights_become_health_and_weight() {
        let check = |status, own| {
            let mut instance = a_registration("orders", "trading", 1);
            instance.status = status;
            instance.weight_passing = 10;
            instance.weight_warning = 2;
            health_and_weight(&instance, own)
        };
        assert_eq!(check(CheckStatus::Passing, None), (Health::Healthy, 10));
        assert_eq!(check(CheckStatus::Warning, None), (Health::Healthy, 2));
        assert_eq!(check(CheckStatus::Maintenance, None), (Health::Draining, 10));
        assert_eq!(check(CheckStatus::Critical, None), (Health::Unhealthy, 10));
        assert_eq!(check(CheckStatus::Warning, Some(7)), (Health::Healthy, 7));
    }

    #[test]
    fn a_weight_of_zero_drains() {
        let mut instance = a_registration("orders", "trading", 1);
        instance.status = CheckStatus::Warning;
        instance.weight_warning = 0;
        assert_eq!(health_and_weight(&instance, None), (Health::Draining, 1));
    }
}
