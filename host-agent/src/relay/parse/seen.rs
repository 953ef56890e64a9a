//! Which series a body had already: an open-addressed table of hashes, because nothing is looked up in order or listed.

/// Hash → position, for up to 2^32 - 1 positions.
#[derive(Debug, Default)]
pub(super) struct Seen {
    slots: Vec<(u64, u32)>,
    count: usize,
}

const FREE: u32 = u32::MAX;

impl Seen {
    /// The position under the same hash for which `is_same` holds; otherwise notes `position` and gives `None`.
    pub(super) fn find_or_insert(
        &mut self,
        hash: u64,
        position: u32,
        is_same: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        if self.count * 2 >= self.slots.len() {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let mut at = usize::try_from(hash & mask as u64).unwrap_or(0);
        while let Some(slot) = self.slots.get_mut(at) {
            if slot.1 == FREE {
                *slot = (hash, position);
                self.count += 1;
                return None;
            }
            if slot.0 == hash && is_same(slot.1) {
                return Some(slot.1);
            }
            at = (at + 1) & mask;
        }
        None
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(256);
        let old = std::mem::replace(&mut self.slots, vec![(0, FREE); size]);
        let mask = size - 1;
        for (hash, position) in old.into_iter().filter(|(_, position)| *position != FREE) {
            let mut at = usize::try_from(hash & mask as u64).unwrap_or(0);
            while self.slots.get(at).is_some_and(|slot| slot.1 != FREE) {
                at = (at + 1) & mask;
            }
            if let Some(slot) = self.slots.get_mut(at) {
                *slot = (hash, position);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_found_again_after_it_grew_and_equal_hashes_are_told_apart() {
        let mut seen = Seen::default();
        for position in 0..10_000 {
            assert_eq!(seen.find_or_insert(u64::from(position % 5_000), position, |_| false), None);
        }
        for position in 0..10_000 {
            let hash = u64::from(position % 5_000);
            let found = seen.find_or_insert(hash, 77, |known| known == position);
            assert_eq!(found, Some(position));
        }
    }
}
