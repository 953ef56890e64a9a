//! Which instances take the requests of a track.
//!
//! In: the instances of a service, or of a System's gateways, and a track. Out: those that its requests go to.
//! Routes divide requests by track; here a track with nobody to answer hands its requests to the other one, in the
//! endpoints and not in the routes: that takes one resource, of one type, and is never half done. So a switch from the
//! old version to the new one may come in any order, and a share whose canaries fail is nobody's error.
//!
//! **Invariants**: pure; a track that has a healthy instance gets its own instances and no others; where any instance is
//! registered, no track is empty.

use contract::registration::Track;

use crate::catalog::{Health, Instance};

/// The instances that take the requests of `track`.
pub fn takers<'a>(instances: &[&'a Instance], track: Track) -> Vec<&'a Instance> {
    let (own, others): (Vec<&Instance>, Vec<&Instance>) =
        instances.iter().partition(|instance| instance.track == track);
    let is_for_others = own.is_empty() || (!has_healthy(&own) && has_healthy(&others));
    if is_for_others { others } else { own }
}

fn has_healthy(instances: &[&Instance]) -> bool {
    instances.iter().any(|instance| instance.health == Health::Healthy)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `s` and `c` are healthy instances of the tracks; followed by `!` unhealthy, by `~` draining.
    fn takers_of(world: &str, track: Track) -> String {
        let instances: Vec<Instance> =
            world.split(' ').filter(|w| !w.is_empty()).map(one).collect();
        let instances: Vec<&Instance> = instances.iter().collect();
        let takers = takers(&instances, track);
        takers.iter().map(|taker| taker.id.as_str()).collect::<Vec<_>>().join(" ")
    }

    fn one(word: &str) -> Instance {
        Instance {
            address: [10, 0, 0, 1].into(),
            port: 80,
            id: word.to_owned(),
            ingress: None,
            track: if word.starts_with('s') { Track::Stable } else { Track::Canary },
            health: match word.chars().last() {
                Some('!') => Health::Unhealthy,
                Some('~') => Health::Draining,
                _ => Health::Healthy,
            },
            weight: 1,
            allocation: None,
            node: "host-1".to_owned(),
        }
    }

    #[test]
    fn a_track_with_a_healthy_instance_has_its_own() {
        assert_eq!(takers_of("s1 s2! c1", Track::Stable), "s1 s2!");
        assert_eq!(takers_of("s1 c1 c2~", Track::Canary), "c1 c2~");
    }

    #[test]
    fn a_track_without_instances_has_those_of_the_other() {
        assert_eq!(takers_of("c1 c2", Track::Stable), "c1 c2", "the old ones left first");
        assert_eq!(takers_of("s1 s2!", Track::Canary), "s1 s2!", "the last canary was promoted");
        assert_eq!(takers_of("c1!", Track::Stable), "c1!");
        assert_eq!(takers_of("", Track::Stable), "");
    }

    #[test]
    fn a_track_without_a_healthy_instance_has_those_of_the_other_if_one_of_them_is() {
        assert_eq!(takers_of("s1! s2! c1 c2", Track::Stable), "c1 c2");
        assert_eq!(takers_of("s1 s2! c1!", Track::Canary), "s1 s2!");
        assert_eq!(takers_of("s1~ s2~ c1", Track::Stable), "c1", "those that drain are left alone");
        assert_eq!(takers_of("s1! s2~ c1!", Track::Stable), "s1! s2~", "nobody can do better");
    }
}
