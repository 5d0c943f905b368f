use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use http::Method;

use crate::answer::{Answer, Form};
use crate::counts::thread_slot;
use crate::entry::Entry;
use crate::front::{Front, Glance, Shape, Version};
use crate::policy::{RequestDirectives, RequestFields, Reuse, reuse};
use crate::resource::{Resource, ResourceKey};
use crate::shared::Shared;
use crate::status::Status;
use crate::variants::{Variants, selected};

/// A stripe's own copy of what is stored for a resource.
///
/// Only the bytes of bodies are shared with the store: heads are copied, and who
/// holds a body is counted for each stripe apart. A hit writes to no memory that
/// another thread writes to.
#[derive(Debug)]
pub(crate) struct Hot {
    key: ResourceKey,
    variants: Variants,
    /// Hits of which the store was not told.
    untold: u32,
    /// When it is to be told of the next one, however few there were.
    due: Instant,
}

impl Hot {
    /// A copy of what is stored.
    pub(crate) fn of(resource: &Resource<'_>, stored: &Variants, now: Instant) -> Option<Self> {
        let key = ResourceKey::of(resource)?;
        let variants = stored.iter().map(|entry| Arc::new(entry.apart())).collect();
        Some(Self { key, variants, untold: 0, due: now + WHILE })
    }

    /// What a copy takes of memory beside what is stored, in bytes.
    pub(crate) fn weight(&self) -> u64 {
        (self.key.weight() + heads(&self.variants)) as u64
    }

    /// What is stored, if it is for this resource.
    pub(crate) fn variants(&self, resource: &Resource<'_>) -> Option<&[Arc<Entry>]> {
        (self.key.resource() == *resource).then_some(&*self.variants)
    }

    /// Counts a hit; whether to tell the store, which decides by the hits that it
    /// knows who stays. It is told of one in so many, and of all that are not too
    /// many: for what is asked for so often, that is often enough to stay.
    pub(crate) fn is_to_be_told(&mut self, now: Instant) -> bool {
        self.untold += 1;
        let is_due = self.untold >= UNTOLD || now >= self.due;
        if is_due {
            (self.untold, self.due) = (0, now + WHILE);
        }
        is_due
    }
}

impl Shared {
    /// The answer of the front to a request, where what it has is fresh and was not
    /// purged for good. All else is for the store.
    pub(crate) fn glance(
        &self,
        method: &Method,
        fields: &RequestFields<'_>,
        resource: &Resource<'_>,
        now: Instant,
    ) -> Glance<Answer> {
        if !self.is_believed(now) {
            return Glance::Nothing;
        }
        let head_only = method == Method::HEAD;
        let wishes = fields.directives();
        let (mut status, mut is_to_be_told) = (None, false);
        let glance = self.store.front().glance(thread_slot(), resource.hash(), |hot| {
            let variants = hot.variants(resource)?;
            let purges = self.store.purges();
            if variants.iter().any(|entry| purges.judge(&resource.target, entry.mark())) {
                return None;
            }
            let entry = selected(variants, fields, head_only)?;
            let kept = entry.kept(now);
            let Reuse::Serve { age } = reuse(&wishes, &kept, now) else { return None };
            let hit = Status::hit(&kept, age);
            status = Some(hit);
            let form = Form::of(fields, head_only, entry);
            let answer = Answer::new(entry, form, age, self.member(hit));
            is_to_be_told = hot.is_to_be_told(now);
            Some(answer)
        });
        if is_to_be_told {
            self.store.touch(resource);
        }
        // Who observes it may do what takes long, or ask for the same again.
        if let Some(status) = status {
            self.count(status);
        }
        glance
    }

    /// Puts into the front what was stored for a resource at this version, unless it
    /// is of no use there.
    pub(crate) fn keep(
        &self,
        resource: &Resource<'_>,
        version: Version,
        stored: &Variants,
        now: Instant,
    ) {
        let is_fresh = |entry: &Arc<Entry>| {
            let reuse = reuse(&RequestDirectives::default(), &entry.kept(now), now);
            matches!(reuse, Reuse::Serve { .. })
        };
        // It takes a little more than that.
        if stored.iter().any(is_fresh)
            && self.store.front().has_room(heads(stored) as u64)
            && let Some(hot) = Hot::of(resource, stored, now)
        {
            let weight = hot.weight();
            self.store.front().keep(thread_slot(), resource.hash(), version, hot, weight);
        }
    }
}

/// What responses take of memory but for their bodies, in bytes.
fn heads(variants: &[Arc<Entry>]) -> usize {
    variants.iter().map(|entry| entry.weight() - entry.content.weight()).sum()
}

/// The front of a store of this capacity, with a stripe for each of the threads that
/// are likely to run.
pub(crate) fn front(capacity: u64) -> Front<Hot> {
    let threads = available_parallelism().map_or(FEWEST, |threads| threads.get());
    let stripes = (2 * threads).clamp(FEWEST, MOST);
    let budget = (capacity / PART).min(MOST_BYTES);
    Front::new(Shape { stripes, places: PLACES, words: WORDS, budget })
}

/// The part of the capacity that the front may take: one in so many.
const PART: u64 = 64;

/// The most that the front may take, in bytes.
const MOST_BYTES: u64 = 4 << 20;

const UNTOLD: u32 = 16;
const WHILE: Duration = Duration::from_millis(10);

const PLACES: usize = 64;
const FEWEST: usize = 4;
const MOST: usize = 32;

/// Changes of other resources rarely make a hot one be copied anew.
const WORDS: usize = 4096;

#[cfg(test)]
mod tests {
    use crate::front::{Front, Glance, Shape};

    fn front(budget: u64) -> Front<&'static str> {
        Front::new(Shape { stripes: 2, places: 4, words: 8, budget })
    }

    /// Asks for a key as a thread does that finds `there` in the table.
    fn ask(front: &Front<&'static str>, hash: u64, there: &'static str) -> Glance<&'static str> {
        let glance = front.glance(0, hash, |held| Some(*held));
        if let Glance::Wanted(version) = glance
            && front.has_room(10)
        {
            front.keep(0, hash, version, there, 10);
        }
        glance
    }

    fn is_held(front: &Front<&'static str>, hash: u64) -> bool {
        matches!(front.glance(0, hash, |held| Some(*held)), Glance::Found(_))
    }

    #[test]
    fn what_is_asked_for_four_times_is_kept_until_it_is_forgotten() {
        let front = front(100);
        for _ in 0..3 {
            assert_eq!(ask(&front, 1, "a"), Glance::Nothing);
        }
        assert!(matches!(ask(&front, 1, "a"), Glance::Wanted(_)));
        assert_eq!((ask(&front, 1, "b"), front.weight()), (Glance::Found("a"), 10));
        front.forget(1);
        assert!(matches!(ask(&front, 1, "b"), Glance::Wanted(_)));
        assert_eq!((ask(&front, 1, "b"), front.weight()), (Glance::Found("b"), 10));
        front.forget(1);
        assert_eq!(front.weight(), 0);
    }

    #[test]
    fn what_was_found_before_a_change_is_not_kept() {
        let front = front(100);
        let versions = (0..4).map(|_| front.glance(0, 1, |held| Some(*held)));
        let Some(Glance::Wanted(before)) = versions.last() else { panic!("it is wanted") };
        front.forget(1);
        front.keep(0, 1, before, "a", 10);
        assert_eq!((is_held(&front, 1), front.weight()), (false, 0));
    }

    #[test]
    fn a_change_of_another_group_takes_nothing_away() {
        let front = front(100);
        (0..4).for_each(|_| _ = ask(&front, 1, "a"));
        // The same place, but another word; then the same word.
        front.forget(5);
        assert!(is_held(&front, 1));
        front.forget(9);
        assert!(!is_held(&front, 1));
    }

    #[test]
    fn no_more_is_held_than_there_is_room_for() {
        let front = front(25);
        for hash in 0..4 {
            (0..4).for_each(|_| _ = ask(&front, hash, "a"));
            assert_eq!(is_held(&front, hash), hash < 2);
        }
        assert_eq!(front.weight(), 20);
        front.forget(0);
        assert_eq!(front.weight(), 10);
        (0..5).for_each(|_| _ = ask(&front, 3, "a"));
        assert!(is_held(&front, 3));
    }

    #[test]
    fn what_is_asked_for_no_more_makes_room_for_what_is() {
        let front = front(25);
        for hash in 0..3 {
            (0..40).for_each(|_| _ = ask(&front, hash, "a"));
        }
        assert!(!is_held(&front, 2));
        // One of them goes on being asked for.
        for _ in 0..400 {
            ask(&front, 0, "a");
            ask(&front, 2, "a");
        }
        assert_eq!([0, 1, 2].map(|hash| is_held(&front, hash)), [true, false, true]);
    }

    #[test]
    fn a_third_of_the_requests_for_a_place_keeps_it_and_silence_loses_it() {
        let front = front(100);
        let others = (1..).map(|number| 1 + 4 * number);
        let mut found = 0;
        for (turn, other) in others.clone().take(3_000).enumerate() {
            let hash = if turn % 3 == 0 { 1 } else { other };
            found += u32::from(ask(&front, hash, "a") == Glance::Found("a"));
        }
        assert!(found > 950, "{found}");
        others.take(200).for_each(|other| _ = ask(&front, other, "b"));
        assert_eq!(front.weight(), 0);
    }

    #[test]
    fn keys_that_are_asked_for_alike_are_not_kept() {
        let front = front(100);
        for turn in 0..3_000 {
            assert_eq!(ask(&front, 4 * (turn % 16), "a"), Glance::Nothing);
        }
    }

    #[test]
    fn who_meets_another_in_a_stripe_finds_nothing_and_waits_for_nobody() {
        let front = front(100);
        (0..4).for_each(|_| _ = ask(&front, 1, "a"));
        let outer = front.glance(0, 1, |held| {
            assert_eq!(front.glance(2, 1, |_| Some(())), Glance::Nothing);
            Some(*held)
        });
        assert_eq!(outer, Glance::Found("a"));
    }
}
