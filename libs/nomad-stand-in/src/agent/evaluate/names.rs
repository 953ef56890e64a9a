//! Numbers of a group's instances, as in `job.group[2]`.

use std::collections::BTreeSet;

/// The lowest numbers that are not used, `wanted` of them.
pub(super) fn next(used: &BTreeSet<usize>, wanted: usize) -> Vec<usize> {
    (0..).filter(|number| !used.contains(number)).take(wanted).collect()
}

/// Numbers of canaries: those of the instances they are to replace, then the next ones.
pub(super) fn canaries(
    replaced: &BTreeSet<usize>,
    canaries: &BTreeSet<usize>,
    wanted: usize,
) -> Vec<usize> {
    let mut numbers: Vec<usize> = replaced.difference(canaries).copied().take(wanted).collect();
    let used: BTreeSet<usize> = canaries.iter().chain(&numbers).copied().collect();
    let missing = wanted.saturating_sub(numbers.len());
    numbers.extend(next(&used, missing));
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canaries_take_the_numbers_of_what_they_replace() {
        let set = |list: &[usize]| list.iter().copied().collect::<BTreeSet<_>>();
        assert_eq!(canaries(&set(&[0, 1, 2]), &set(&[]), 1), [0]);
        assert_eq!(canaries(&set(&[0, 1, 2]), &set(&[0]), 1), [1]);
        assert_eq!(canaries(&set(&[0]), &set(&[]), 3), [0, 1, 2]);
        assert_eq!(next(&set(&[0, 2]), 2), [1, 3]);
    }
}
