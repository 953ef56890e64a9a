//! A bounded amount of something (bytes in memory, bytes on disk) that many share fairly.
//!
//! Each may hold at most three times what is free at that moment (dynamic thresholds, Choudhury and Hahne 1998). So one alone
//! may take three quarters; when several want much, each has the same, and there is always something left for who comes next.
//! Nobody needs to know how many there are.
//!
//! **Invariants**: the sum never exceeds the limit; what was taken is given back exactly once ([`Share`] does it when
//! dropped, unless it is kept).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many times the free amount one may hold.
const FACTOR: u64 = 3;

/// Who holds how much.
#[derive(Debug)]
pub struct Shares {
    limit: u64,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    total: u64,
    by: BTreeMap<Arc<str>, u64>,
}

impl Shares {
    /// Nothing of `limit` is taken.
    pub fn new(limit: u64) -> Self {
        Self { limit, held: Mutex::default() }
    }

    /// Takes `amount` for `who`, if that is within its share.
    pub fn take(&self, who: &Arc<str>, amount: u64) -> bool {
        let mut held = self.lock();
        let free = self.limit - held.total;
        let own = held.by.get(who).copied().unwrap_or_default();
        if amount > free || own.saturating_add(amount) > free.saturating_mul(FACTOR) {
            return false;
        }
        held.add(who, amount);
        true
    }

    /// Takes what is there already, such as after a restart, even beyond the limit.
    pub fn force(&self, who: &Arc<str>, amount: u64) {
        let mut held = self.lock();
        let amount = amount.min(self.limit - held.total);
        held.add(who, amount);
    }

    /// Gives back.
    pub fn give(&self, who: &Arc<str>, amount: u64) {
        let mut held = self.lock();
        let own = held.by.get(who).copied().unwrap_or_default();
        let amount = amount.min(own);
        held.total -= amount;
        if amount == own {
            held.by.remove(who);
        } else {
            held.by.insert(Arc::clone(who), own - amount);
        }
    }

    /// The whole and what of it is taken.
    pub fn usage(&self) -> (u64, u64) {
        (self.limit, self.lock().total)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Sums are changed by single steps that cannot panic between them.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn add(&mut self, who: &Arc<str>, amount: u64) {
        self.total += amount;
        *self.by.entry(Arc::clone(who)).or_default() += amount;
    }
}

/// Something taken for as long as it lives; it can grow.
#[derive(Debug)]
pub struct Share {
    shares: Arc<Shares>,
    who: Arc<str>,
    amount: u64,
}

impl Share {
    /// Nothing taken yet.
    pub const fn none(shares: Arc<Shares>, who: Arc<str>) -> Self {
        Self { shares, who, amount: 0 }
    }

    /// Takes so much more.
    pub fn grow(&mut self, amount: u64) -> bool {
        let is_taken = self.shares.take(&self.who, amount);
        self.amount += if is_taken { amount } else { 0 };
        is_taken
    }

    /// Leaves what was taken to someone else, who gives it back with [`Shares::give`].
    pub fn keep(mut self) {
        self.amount = 0;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shares.give(&self.who, self.amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> (Arc<str>, Arc<str>) {
        (Arc::from("flood"), Arc::from("quiet"))
    }

    #[test]
    fn one_alone_takes_three_quarters_and_the_quiet_one_still_gets_in() {
        let shares = Shares::new(1000);
        let (flood, quiet) = names();
        while shares.take(&flood, 10) {}
        assert_eq!(shares.usage(), (1000, 750));
        for _ in 0..10 {
            assert!(shares.take(&quiet, 10));
        }
        assert!(!shares.take(&flood, 10));
    }

    #[test]
    fn two_that_want_all_get_the_same() {
        let shares = Shares::new(7000);
        let (one, two) = names();
        while shares.take(&one, 10) | shares.take(&two, 10) {}
        assert_eq!(shares.usage(), (7000, 6000));
        shares.give(&one, 3000);
        assert_eq!(shares.usage(), (7000, 3000));
        shares.give(&two, 9999);
        assert_eq!(shares.usage(), (7000, 0));
    }

    #[test]
    fn a_share_is_given_back_when_it_is_dropped() {
        let shares = Arc::new(Shares::new(100));
        let mut share = Share::none(Arc::clone(&shares), names().0);
        assert!(share.grow(40) && share.grow(20) && !share.grow(60));
        assert_eq!(shares.usage(), (100, 60));
        drop(share);
        assert_eq!(shares.usage(), (100, 0));
    }
}
