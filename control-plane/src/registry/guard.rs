//! Which answers shrink the mesh so much that they must be confirmed.
//!
//! In: what is published and what is answered now. Out: a [`Verdict`]. Used wherever an answer comes in.
//!
//! **Invariants**: pure. A first answer is accepted: there is nothing to lose yet. Growth is never delayed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::registry::RegisteredInstance;

/// From so many instances on, the loss of more than half is confirmed.
const MANY_INSTANCES: usize = 20;

/// What to do with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It says what is published already.
    Unchanged,
    /// Publish it.
    Accept,
    /// Publish it once it is confirmed; the reason to doubt it.
    Confirm(String),
}

/// Instances of one service.
pub(super) fn judge_instances(
    published: Option<&[RegisteredInstance]>,
    answered: &[RegisteredInstance],
) -> Verdict {
    let Some(published) = published else { return Verdict::Accept };
    let (before, after) = (published.len(), answered.len());
    if published == answered {
        Verdict::Unchanged
    } else if before > 0 && after == 0 {
        Verdict::Confirm(format!("all {before} instances are gone from the answer"))
    } else if before >= MANY_INSTANCES && after * 2 < before {
        Verdict::Confirm(format!(
            "{} of {before} instances are gone from the answer",
            before - after
        ))
    } else {
        Verdict::Accept
    }
}

/// Names of the listing.
pub(super) fn judge_listing(
    accepted: Option<&BTreeSet<Arc<str>>>,
    answered: &BTreeSet<Arc<str>>,
) -> Verdict {
    let Some(accepted) = accepted else { return Verdict::Accept };
    let (before, gone) = (accepted.len(), accepted.difference(answered).count());
    if accepted == answered {
        Verdict::Unchanged
    } else if gone * 3 > before {
        Verdict::Confirm(format!("{gone} of {before} services are gone from the listing"))
    } else {
        Verdict::Accept
    }
}

/// System documents: leaving one by one is ordinary, all at once is not.
pub(super) fn judge_documents(
    published: Option<&BTreeMap<String, String>>,
    answered: &BTreeMap<String, String>,
) -> Verdict {
    let Some(published) = published else { return Verdict::Accept };
    if published == answered {
        Verdict::Unchanged
    } else if answered.is_empty() {
        Verdict::Confirm(format!("all {} documents are gone from the answer", published.len()))
    } else {
        Verdict::Accept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::CheckStatus;

    fn some(count: usize) -> Vec<RegisteredInstance> {
        let instance = |nth| RegisteredInstance {
            id: format!("web-{nth}"),
            node: "host-1".to_owned(),
            address: "10.0.0.1".to_owned(),
            port: 80,
            tags: Vec::new(),
            meta: BTreeMap::new(),
            status: CheckStatus::Passing,
            weight_passing: 1,
            weight_warning: 1,
        };
        (0..count).map(instance).collect()
    }

    fn must_confirm(before: usize, after: usize) -> bool {
        matches!(judge_instances(Some(&some(before)), &some(after)), Verdict::Confirm(_))
    }

    #[test]
    fn the_last_instance_and_more_than_half_of_many_are_confirmed() {
        assert!(must_confirm(1, 0) && must_confirm(19, 0) && must_confirm(40, 0));
        assert!(must_confirm(20, 9) && must_confirm(41, 20));
        assert!(!must_confirm(20, 10) && !must_confirm(19, 1) && !must_confirm(5, 6));
    }

    #[test]
    fn a_first_answer_is_accepted_and_an_equal_one_changes_nothing() {
        assert_eq!(judge_instances(None, &[]), Verdict::Accept);
        assert_eq!(judge_instances(Some(&some(3)), &some(3)), Verdict::Unchanged);
        assert_eq!(judge_instances(Some(&[]), &[]), Verdict::Unchanged);
    }

    #[test]
    fn more_than_a_third_of_the_listing_is_confirmed() {
        let names = |range: std::ops::Range<usize>| -> BTreeSet<Arc<str>> {
            range.map(|nth| Arc::from(format!("s{nth}"))).collect()
        };
        let verdict = |after| judge_listing(Some(&names(0..9)), &after);
        assert_eq!(verdict(names(3..9)), Verdict::Accept);
        assert!(matches!(verdict(names(4..9)), Verdict::Confirm(_)));
        assert!(matches!(verdict(names(9..18)), Verdict::Confirm(_)), "replaced is gone as well");
        assert_eq!(verdict(names(0..99)), Verdict::Accept);
        assert_eq!(judge_listing(None, &names(0..0)), Verdict::Accept);
    }

    #[test]
    fn the_loss_of_all_documents_is_confirmed_and_of_one_is_not() {
        let documents = |names: &[&str]| -> BTreeMap<String, String> {
            names.iter().map(|name| ((*name).to_owned(), String::new())).collect()
        };
        let published = documents(&["trading", "portfolio"]);
        assert_eq!(judge_documents(Some(&published), &documents(&["trading"])), Verdict::Accept);
        assert!(matches!(judge_documents(Some(&published), &documents(&[])), Verdict::Confirm(_)));
        assert_eq!(judge_documents(Some(&documents(&[])), &documents(&[])), Verdict::Unchanged);
    }
}
