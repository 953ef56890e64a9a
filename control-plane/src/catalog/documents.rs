//! System documents: the last good version of each stays in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::api::Problem;
use contract::document;
use contract::name::SystemName;
use contract::system::SystemDocument;

/// The documents in force, and what is wrong with newer ones.
#[derive(Debug, Default)]
pub struct Shelf {
    in_force: BTreeMap<SystemName, InForce>,
    problems: BTreeMap<String, Vec<Problem>>,
    seen: BTreeMap<String, String>,
}

#[derive(Debug)]
struct InForce {
    text: String,
    document: Arc<SystemDocument>,
}

impl Shelf {
    /// Takes all documents, name → text. Answers the Systems whose document in force changed.
    pub fn replace(&mut self, texts: BTreeMap<String, String>) -> Vec<SystemName> {
        let mut changed = Vec::new();
        let gone: Vec<SystemName> = self
            .in_force
            .keys()
            .filter(|name| !texts.contains_key(name.as_str()))
            .cloned()
            .collect();
        for name in gone {
            self.in_force.remove(&name);
            changed.push(name);
        }
        self.problems.retain(|name, _| texts.contains_key(name));
        for (name, text) in &texts {
            if self.seen.get(name) != Some(text) {
                changed.extend(self.read(name, text));
            }
        }
        self.seen = texts;
        changed
    }

    /// The document in force for a System.
    pub fn get(&self, name: &SystemName) -> Option<&Arc<SystemDocument>> {
        self.in_force.get(name).map(|entry| &entry.document)
    }

    /// What is wrong, and what is in force instead.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.values().flatten()
    }

    /// The texts in force: what a restart can trust.
    pub fn texts(&self) -> BTreeMap<String, String> {
        self.in_force.iter().map(|(name, entry)| (name.to_string(), entry.text.clone())).collect()
    }

    fn read(&mut self, name: &str, text: &str) -> Option<SystemName> {
        let subject = format!("document {name}");
        let system: SystemName = match name.parse() {
            Ok(system) => system,
            Err(error) => {
                let reason = format!("{error}; the document is ignored");
                self.problems.insert(name.to_owned(), vec![Problem { subject, reason }]);
                return None;
            }
        };
        match document::parse(text, Some(name)) {
            Ok(document) => {
                self.problems.remove(name);
                let document = Arc::new(document);
                let before = self.in_force.insert(
                    system.clone(),
                    InForce { text: text.to_owned(), document: document.clone() },
                );
                before.is_none_or(|before| before.document != document).then_some(system)
            }
            Err(problems) => {
                let instead = if self.in_force.contains_key(&system) {
                    "its last good version stays in force"
                } else {
                    "the System is served as if it had no document"
                };
                let problems = problems
                    .into_iter()
                    .map(|problem| Problem {
                        subject: subject.clone(),
                        reason: format!("{problem}; {instead}"),
                    })
                    .collect();
                self.problems.insert(name.to_owned(), problems);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    const GOOD: &str = "kind: System\nname: trading\ndefault_auth: none\n";

    #[test]
    fn a_bad_document_keeps_its_last_good_version_in_force() {
        let mut shelf = Shelf::default();
        let trading: SystemName = "trading".parse().unwrap();
        assert_eq!(shelf.replace(texts(&[("trading", GOOD)])), vec![trading.clone()]);
        let good = shelf.get(&trading).cloned().unwrap();

        let bad = "kind: System\nname: trading\nrouts: []\n";
        assert_eq!(shelf.replace(texts(&[("trading", bad)])), vec![]);
        assert_eq!(shelf.get(&trading), Some(&good));
        let problem = shelf.problems().next().unwrap();
        assert_eq!(problem.subject, "document trading");
        assert!(problem.reason.contains("routs"), "{problem:?}");
        assert!(problem.reason.ends_with("its last good version stays in force"), "{problem:?}");
        assert_eq!(shelf.texts(), texts(&[("trading", GOOD)]));

        assert_eq!(shelf.replace(texts(&[("trading", GOOD)])), vec![]);
        assert_eq!(shelf.problems().count(), 0);
    }

    #[test]
    fn a_removed_document_is_removed() {
        let mut shelf = Shelf::default();
        let trading: SystemName = "trading".parse().unwrap();
        shelf.replace(texts(&[("trading", GOOD)]));
        assert_eq!(shelf.replace(texts(&[])), vec![trading.clone()]);
        assert_eq!(shelf.get(&trading), None);
    }

    #[test]
    fn a_name_that_is_no_system_is_reported() {
        let mut shelf = Shelf::default();
        assert_eq!(shelf.replace(texts(&[("Trading!", GOOD)])), vec![]);
        assert!(shelf.problems().next().unwrap().reason.contains("is not a name"));
    }
}
