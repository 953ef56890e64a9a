//! Pieces that a server may be refusing, and the verdict on them. The rule is in the header of [`super`].
//!
//! In: failures of pieces that were alone on a connection, acknowledgements of others, and the time. Out: which piece to try next,
//! and whether to halve it or give it up. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::window::Piece;

/// Pause after a first failure.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Trials that found no connection, until a suspect goes back among the others.
const UNHEARD: u32 = 5;

/// A piece under suspicion.
#[derive(Debug, Clone)]
pub(super) struct Suspect {
    pub(super) piece: Piece,
    /// Times that it failed, alone on a connection that was ready.
    pub(super) failures: u32,
    /// Failures, its own and those of the pieces it was part of, after which the same server took something else.
    strikes: u32,
    /// Failures that are proof of nothing yet: server → its acknowledgements until then. It must take something else first.
    pending: BTreeMap<usize, u64>,
    /// The server that it failed on last.
    pub(super) server: usize,
    not_before: Option<Instant>,
    /// Trials in a row for which no connection could be made.
    unheard: u32,
}

/// What is to be done with a suspect.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Halve it: both halves are suspects then.
    Halve(Suspect),
    /// It is one record, and its server takes others.
    Dead(Suspect),
}

/// All suspects, the next to be tried first.
#[derive(Debug)]
pub(super) struct Suspects {
    waiting: VecDeque<Suspect>,
    /// Strikes and failures that make a verdict.
    refusals: u32,
    /// The parcel whose first piece is halved to find something that its server takes.
    search: Option<u64>,
    random: fastrand::Rng,
    pause_max: Duration,
}

impl Suspects {
    pub(super) fn new(refusals: u32, pause_max: Duration, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { waiting: VecDeque::new(), refusals, search: None, random, pause_max }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Suspects a piece that broke connections which it shared; `is_proven`: its server took later ones meanwhile.
    pub(super) fn add(&mut self, piece: Piece, server: usize, acks: u64, is_proven: bool) {
        let pending = (!is_proven).then_some((server, acks)).into_iter().collect();
        self.waiting.push_back(Suspect {
            piece,
            failures: 0,
            strikes: u32::from(is_proven),
            pending,
            server,
            not_before: None,
            unheard: 0,
        });
    }

    /// The next one to be tried alone.
    pub(super) fn next(&mut self, now: Instant) -> Option<Suspect> {
        let ripe = |suspect: &Suspect| suspect.not_before.is_none_or(|at| at <= now);
        let place = self.waiting.iter().position(ripe)?;
        self.waiting.remove(place)
    }

    /// When [`Suspects::next`] may have one.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        self.waiting.iter().map(|suspect| suspect.not_before.unwrap_or(now)).min()
    }

    /// A trial for which no connection could be made says nothing of the suspect, which is returned when it is better sent
    /// among the others: a server may allow one connection only.
    pub(super) fn unheard(&mut self, mut suspect: Suspect, now: Instant) -> Option<Piece> {
        suspect.unheard += 1;
        if suspect.unheard >= UNHEARD {
            return Some(Piece { heads: 0, ..suspect.piece });
        }
        suspect.not_before = Some(now + self.pause(suspect.unheard));
        self.waiting.push_front(suspect);
        None
    }

    /// A trial failed.
    pub(super) fn failed(&mut self, mut suspect: Suspect, server: usize, acks: u64, now: Instant) {
        suspect.failures += 1;
        suspect.unheard = 0;
        suspect.server = server;
        suspect.pending.insert(server, acks);
        // Pieces that only have to be halved on need no pause: their server is known to be well.
        let is_proven = suspect.strikes >= self.refusals && suspect.piece.len() > 1;
        suspect.not_before = (!is_proven).then(|| now + self.pause(suspect.failures));
        self.waiting.push_back(suspect);
    }

    /// Doubles with each failure, half of it jitter.
    fn pause(&mut self, failures: u32) -> Duration {
        let whole = PAUSE_MIN.saturating_mul(1 << failures.min(16)).min(self.pause_max);
        whole.mul_f64(0.5 + self.random.f64() / 2.0)
    }

    /// A server took a piece that is none of the suspects waiting here: what failed there before is proven.
    pub(super) fn acked(&mut self, server: usize, acks: u64) {
        self.search = None;
        for suspect in &mut self.waiting {
            if suspect.pending.get(&server).is_some_and(|before| *before < acks) {
                suspect.pending.remove(&server);
                suspect.strikes += 1;
            }
        }
    }

    /// Takes out a suspect on which there is a verdict. `is_alone`: nothing but suspects is left to be sent or in flight, so that
    /// nothing else will prove anything.
    pub(super) fn verdict(&mut self, is_alone: bool) -> Option<Verdict> {
        let refusals = self.refusals;
        let is_judged = |suspect: &Suspect| {
            let own = if suspect.piece.len() == 1 { refusals } else { 1 };
            suspect.strikes >= refusals && suspect.failures >= own
        };
        if let Some(place) = self.waiting.iter().position(is_judged) {
            let suspect = self.waiting.remove(place)?;
            let is_one = suspect.piece.len() == 1;
            return Some(if is_one { Verdict::Dead(suspect) } else { Verdict::Halve(suspect) });
        }
        if !is_alone || self.waiting.iter().any(|suspect| suspect.failures == 0) {
            return None;
        }
        let place = self.waiting.iter().position(|suspect| self.is_searched(suspect))?;
        let suspect = self.waiting.remove(place)?;
        self.search = Some(suspect.piece.parcel);
        Some(Verdict::Halve(suspect))
    }

    /// Whether this is the piece to be halved while everything fails: the first of one parcel, so that few pieces come of it.
    fn is_searched(&self, suspect: &Suspect) -> bool {
        let is_first = |piece: &Piece| {
            self.waiting.iter().all(|other| {
                other.piece.parcel != piece.parcel || other.piece.order() >= piece.order()
            })
        };
        let is_exhausted = |root: u64| {
            let mut pieces = self.waiting.iter().map(|other| &other.piece);
            !pieces.any(|piece| piece.parcel == root && is_first(piece) && piece.len() > 1)
        };
        let piece = &suspect.piece;
        let is_root = self.search.is_none_or(|root| root == piece.parcel || is_exhausted(root));
        suspect.failures >= self.refusals && piece.len() > 1 && is_first(piece) && is_root
    }

    /// Both halves of a suspect, to be tried next; what was proven of the whole holds for the halves.
    pub(super) fn halved(&mut self, whole: &Suspect, halves: [Piece; 2]) {
        for piece in halves.into_iter().rev() {
            let half =
                Suspect { piece, failures: 0, not_before: None, unheard: 0, ..whole.clone() };
            self.waiting.push_front(half);
        }
    }
}
