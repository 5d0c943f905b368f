use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use super::sync::{AtomicU64, Mutex, lock, try_lock};

/// Holds what is asked for most, in stripes: each thread has one and rarely meets
/// another there, so that threads which want the same do not fight for the cache
/// lines in which a table counts who holds it.
///
/// It stands in front of a table that is the truth. A stripe holds what a thread
/// has found there, from [`keep`](Self::keep) on until [`forget`](Self::forget):
/// who changes the table calls that when it has, and before it tells anybody, so
/// who looks afterwards finds nothing older. Between the two there is a word for
/// each group of keys, which has the stripes that hold one of them, and a version.
/// What was found before a change has its version no more and is not kept; what was
/// kept before, the word knows, and the change takes it away.
pub(crate) struct Front<V> {
    words: Box<[AtomicU64]>,
    stripes: Box<[Stripe<V>]>,
    /// How many bytes more may be held.
    room: AtomicU64,
    /// How often there was none.
    refused: AtomicU64,
    budget: u64,
}

/// How large a [`Front`] is. `words` and `places` are powers of two, and there are
/// no fewer words than places, and up to 32 stripes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) stripes: usize,
    pub(crate) places: usize,
    pub(crate) words: usize,
    /// How many bytes all that is held may take together.
    pub(crate) budget: u64,
}

/// What a stripe has for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Glance<R> {
    Found(R),
    /// Nothing, but it is asked for often: what the table has from now on may be
    /// kept.
    Wanted(Version),
    Nothing,
}

/// A version of the table, as far as a group of keys is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version(u64);

impl<V> Front<V> {
    pub(crate) fn new(shape: Shape) -> Self {
        let place = || Place { hash: 0, votes: 0, held: None };
        let places = || (0..shape.places).map(|_| place()).collect();
        Self {
            words: (0..shape.words).map(|_| AtomicU64::new(0)).collect(),
            stripes: (0..shape.stripes).map(|_| Stripe(Mutex::new(places()))).collect(),
            room: AtomicU64::new(shape.budget),
            refused: AtomicU64::new(0),
            budget: shape.budget,
        }
    }

    /// Lets `look` see what the stripe of this slot holds for the hash of a key,
    /// which may be that of another one. It waits for nobody: who meets another
    /// there finds nothing.
    ///
    /// `look` must not go to the table, which may wait for this stripe.
    pub(crate) fn glance<R>(
        &self,
        slot: usize,
        hash: u64,
        look: impl FnOnce(&mut V) -> Option<R>,
    ) -> Glance<R> {
        let Some(mut places) = try_lock(&self.stripe(slot).0) else { return Glance::Nothing };
        let place = self.place(&mut places, hash);
        if place.vote(hash) {
            let left = place.held.take();
            drop(places);
            self.left(left);
            return Glance::Nothing;
        }
        match &mut place.held {
            _ if place.hash != hash => Glance::Nothing,
            Some((value, _)) => look(value).map_or(Glance::Nothing, Glance::Found),
            None if place.votes < ENOUGH => Glance::Nothing,
            None => Glance::Wanted(Version(self.word(hash).load(Acquire) >> BITS)),
        }
    }

    /// Whether so many bytes fit. Where they do not, what is held has to be asked for
    /// to stay: one stripe after the other loses a vote in each place.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        let has_room = bytes <= self.room.load(Relaxed);
        if !has_room && bytes <= self.budget {
            let turn = self.refused.fetch_add(1, Relaxed) as usize;
            if let Some(mut places) = try_lock(&self.stripe(turn).0) {
                places.iter_mut().for_each(|place| self.left(place.lose()));
            }
        }
        has_room
    }

    /// Keeps what the table has had at this version, or later, if it has it still
    /// and so many bytes fit.
    pub(crate) fn keep(&self, slot: usize, hash: u64, version: Version, value: V, bytes: u64) {
        let Some(mut places) = try_lock(&self.stripe(slot).0) else { return };
        let place = self.place(&mut places, hash);
        if place.hash != hash || place.held.is_some() {
            return;
        }
        let enough = |room: u64| room.checked_sub(bytes);
        if self.room.fetch_update(Relaxed, Relaxed, enough).is_err() {
            place.votes = 0;
            return;
        }
        let bit = 1 << (slot % self.stripes.len());
        let noted = |word| (Version(word >> BITS) == version).then_some(word | bit);
        let held = Some((value, bytes));
        // While the stripe is locked: whoever reads the bit waits for the value.
        let left = match self.word(hash).fetch_update(AcqRel, Acquire, noted) {
            Ok(_) => std::mem::replace(&mut place.held, held),
            Err(_) => held,
        };
        drop(places);
        self.left(left);
    }

    /// Lets go of what is held for a key that the table has changed.
    pub(crate) fn forget(&self, hash: u64) {
        let next = |word: u64| Some((word >> BITS).wrapping_add(1) << BITS);
        let (Ok(word) | Err(word)) = self.word(hash).fetch_update(AcqRel, Acquire, next);
        for (slot, stripe) in self.stripes.iter().enumerate() {
            if word & 1 << slot != 0 {
                let mut places = lock(&stripe.0);
                let place = self.place(&mut places, hash);
                // Another key of the group is asked for again: it was the word
                // that knew of it.
                let same = self.group(place.hash) == self.group(hash);
                let left = place.held.take_if(|_| same);
                drop(places);
                self.left(left);
            }
        }
    }

    /// Lets go of all that is held, when the table has changed altogether.
    pub(crate) fn forget_all(&self) {
        (0..self.words.len() as u64).for_each(|group| self.forget(group));
    }

    /// What may be held, in bytes.
    pub(crate) fn budget(&self) -> u64 {
        self.budget
    }

    /// What is held, in bytes.
    pub(crate) fn weight(&self) -> u64 {
        self.budget - self.room.load(Relaxed)
    }

    /// Gives back the room of what is held no more.
    fn left(&self, held: Option<(V, u64)>) {
        if let Some((_, bytes)) = held {
            self.room.fetch_add(bytes, Relaxed);
        }
    }

    fn stripe(&self, slot: usize) -> &Stripe<V> {
        &self.stripes[slot % self.stripes.len()]
    }

    fn word(&self, hash: u64) -> &AtomicU64 {
        &self.words[self.group(hash)]
    }

    fn group(&self, hash: u64) -> usize {
        hash as usize & (self.words.len() - 1)
    }

    /// The one place for a key: all keys of a group have the same.
    fn place<'a>(&self, places: &'a mut [Place<V>], hash: u64) -> &'a mut Place<V> {
        &mut places[hash as usize & (places.len() - 1)]
    }
}

/// Two lines of 64 bytes, because processors fetch them in pairs.
#[repr(align(128))]
struct Stripe<V>(Mutex<Box<[Place<V>]>>);

/// A place for the key that is asked for most of those that belong there, as far as
/// can be told by a vote (Boyer and Moore, MJRTY, 1981): who is asked for gains
/// more than what others take away, so that a fifth of the requests is enough to
/// stay.
struct Place<V> {
    hash: u64,
    votes: u32,
    held: Option<(V, u64)>,
}

impl<V> Place<V> {
    /// Counts a request; whether the place is another's from now on.
    fn vote(&mut self, hash: u64) -> bool {
        if self.hash == hash {
            self.votes = (self.votes + GAIN).min(MOST);
            return false;
        }
        self.votes = self.votes.saturating_sub(1);
        let lost = self.votes == 0;
        if lost {
            (self.hash, self.votes) = (hash, GAIN);
        }
        lost
    }

    /// Loses a vote; gives what was held, if it was the last.
    fn lose(&mut self) -> Option<(V, u64)> {
        self.votes = self.votes.saturating_sub(1);
        self.held.take_if(|_| self.votes == 0)
    }
}

const BITS: u32 = 32;
const GAIN: u32 = 4;

/// The votes with which a key is kept: four requests, with few others between.
const ENOUGH: u32 = 16;

/// The most votes: what was hot until now has gone after so many other requests.
const MOST: u32 = 128;
