//! What a class of proxies refuses, learned from all its streams.
//!
//! In: refusals and acceptances of single resources. Out: a value that every stream of the class looks at before it
//! sends. [`crate::xds::server`] keeps one for each class, which is a client's name and version.
//!
//! A proxy that was refused something isolates it on its own stream (`nack.rs`); this spares the others of its
//! class, and itself after a reconnect, the same refusals. Two proxies must agree: a single one may be broken, or lie.
//! What any proxy of the class has accepted is never held back from it.
//!
//! **Invariants**: a value; versions are compared, never times; bounded however much is refused.
//!
//! **Absent**: listeners. Whether a proxy can have one depends on its host, whose port may be taken, and not on its
//! class; a reconnect tries them again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::xds::resources::{Encoded, ResourceName, ResourceType, Version};

use super::nack::{REMEMBERED, Refused};

/// Resources that are remembered; the one that was refused first goes first.
const MAX_RESOURCES: usize = 1000;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quarantine {
    resources: BTreeMap<(ResourceType, ResourceName), VecDeque<Entry>>,
    /// The keys of `resources`, in the order of their first refusal.
    order: VecDeque<(ResourceType, ResourceName)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    refused: Refused,
    verdict: Verdict,
    fallback: Option<Arc<Encoded>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// One proxy refused it: the one with this id.
    Suspected(Arc<str>),
    /// Two did, and none accepted it.
    Held,
    /// Some proxy accepted it.
    Accepted,
}

/// A refusal of a resource that was alone in its response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its type.
    pub kind: ResourceType,
    /// Its name.
    pub name: ResourceName,
    /// What was refused, and the proxy's own words.
    pub refused: Refused,
    /// What the proxy accepted last under this name.
    pub fallback: Option<Arc<Encoded>>,
}

/// A resource that the class does not get.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hold<'a> {
    /// Why.
    pub refused: &'a Refused,
    /// What a proxy of the class accepted last under this name.
    pub fallback: Option<&'a Arc<Encoded>>,
}

impl Quarantine {
    /// What is known once the proxy `by` has refused something; `None`: that is nothing new.
    #[must_use]
    pub fn refuse(&self, by: &Arc<str>, refusal: &Refusal) -> Option<Self> {
        if refusal.kind == ResourceType::Listener {
            return None;
        }
        let verdict = match self.entry(refusal.kind, &refusal.name, refusal.refused.version) {
            None => Verdict::Suspected(by.clone()),
            Some(Entry { verdict: Verdict::Suspected(first), .. }) if first != by => Verdict::Held,
            Some(_) => return None,
        };
        let mut next = self.clone();
        let key = (refusal.kind, refusal.name.clone());
        if !next.resources.contains_key(&key) {
            next.order.push_back(key.clone());
        }
        let known = next.resources.entry(key).or_default();
        let before =
            known.iter().position(|entry| entry.refused.version == refusal.refused.version);
        let before = before.and_then(|at| known.remove(at)).and_then(|entry| entry.fallback);
        let fallback = refusal.fallback.clone().or(before);
        known.push_back(Entry { refused: refusal.refused.clone(), verdict, fallback });
        if known.len() > REMEMBERED {
            known.pop_front();
        }
        if next.order.len() > MAX_RESOURCES
            && let Some(oldest) = next.order.pop_front()
        {
            next.resources.remove(&oldest);
        }
        Some(next)
    }

    /// What is known once some proxy has accepted this version; `None`: that is nothing new.
    #[must_use]
    pub fn accept(
        &self,
        kind: ResourceType,
        name: &ResourceName,
        version: Version,
    ) -> Option<Self> {
        self.entry(kind, name, version).filter(|entry| entry.verdict != Verdict::Accepted)?;
        let mut next = self.clone();
        let known = next.resources.get_mut(&(kind, name.clone()))?;
        known.iter_mut().find(|entry| entry.refused.version == version)?.verdict =
            Verdict::Accepted;
        Some(next)
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    /// Resources of a type that are held back from the class.
    pub fn held(&self, kind: ResourceType) -> usize {
        let of_kind = self.resources.iter().filter(|((of, _), _)| *of == kind);
        let entries = of_kind.flat_map(|(_, entries)| entries);
        entries.filter(|entry| entry.verdict == Verdict::Held).count()
    }

    /// Whether it matters that a proxy accepts this version.
    pub(super) fn is_suspected(
        &self,
        kind: ResourceType,
        name: &ResourceName,
        version: Version,
    ) -> bool {
        self.entry(kind, name, version).is_some_and(|entry| entry.verdict != Verdict::Accepted)
    }

    /// The hold on this version.
    pub(super) fn hold(
        &self,
        kind: ResourceType,
        name: &ResourceName,
        version: Version,
    ) -> Option<Hold<'_>> {
        let entry = self.entry(kind, name, version)?;
        (entry.verdict == Verdict::Held)
            .then_some(Hold { refused: &entry.refused, fallback: entry.fallback.as_ref() })
    }

    /// Names of a type about which anything is known.
    pub(super) fn names(&self, kind: ResourceType) -> impl Iterator<Item = &ResourceName> {
        self.resources.keys().filter(move |(of, _)| *of == kind).map(|(_, name)| name)
    }

    fn entry(&self, kind: ResourceType, name: &ResourceName, version: Version) -> Option<&Entry> {
        if self.is_empty() {
            return None;
        }
        let known = self.resources.get(&(kind, name.clone()))?;
        known.iter().find(|entry| entry.refused.version == version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: ResourceType = ResourceType::Cluster;

    fn refusal(name: &str, content: &str) -> Refusal {
        let refused =
            Refused { version: Version::of(content.as_bytes()), message: Arc::from("bad") };
        Refusal { kind: KIND, name: name.into(), refused, fallback: None }
    }

    /// What becomes of refusals of one content by these proxies; `+` accepts it.
    fn is_held(by: &[&str]) -> bool {
        let refusal = refusal("a", "1");
        let mut known = Quarantine::default();
        for proxy in by {
            let next = match *proxy {
                "+" => known.accept(KIND, &refusal.name, refusal.refused.version),
                proxy => known.refuse(&Arc::from(proxy), &refusal),
            };
            known = next.unwrap_or(known);
        }
        known.held(KIND) == 1
    }

    #[test]
    fn two_proxies_must_agree_and_none_may_have_accepted() {
        let cases: [(&[&str], bool); 7] = [
            (&["a"], false),
            (&["a", "a", "a"], false),
            (&["a", "b"], true),
            (&["a", "+", "b"], false),
            (&["+", "a", "b"], true),
            (&["a", "b", "+"], false),
            (&["a", "b", "+", "c", "d"], false),
        ];
        for (by, held) in cases {
            assert_eq!(is_held(by), held, "{by:?}");
        }
    }

    #[test]
    fn a_listener_is_never_held_back_from_a_class() {
        let refusal = Refusal { kind: ResourceType::Listener, ..refusal("a", "1") };
        assert_eq!(Quarantine::default().refuse(&Arc::from("a"), &refusal), None);
    }

    #[test]
    fn however_much_is_refused_memory_is_bounded() {
        let mut known = Quarantine::default();
        for number in 0..MAX_RESOURCES + 10 {
            let refusal = refusal(&format!("{number}"), "1");
            known = known.refuse(&Arc::from("a"), &refusal).unwrap();
        }
        assert_eq!((known.resources.len(), known.order.len()), (MAX_RESOURCES, MAX_RESOURCES));
        for content in 0..10_u8 {
            let refusal = refusal("one", &content.to_string());
            known = known.refuse(&Arc::from("a"), &refusal).unwrap();
        }
        assert_eq!(known.resources[&(KIND, "one".into())].len(), REMEMBERED);
    }
}
