use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

use ahash::RandomState;
use http::{HeaderMap, HeaderName};
use tower_edge_core::Target;

use crate::mark::Mark;

/// What becomes of the entries that a purge meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purge {
    /// They are stale from now on: validated before they answer, or, where stale
    /// answers are permitted, refreshed behind one.
    Soft,
    /// They never answer again, not even in place of an error.
    Hard,
}

/// Which entries a purge is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scope<'a> {
    Everything,
    /// All variants of a target, whoever's they are.
    Target(Target<'a>),
    /// The target, and what is below it.
    Prefix(Target<'a>),
    Tag(&'a str),
}

/// The purges there were, by number: an entry is purged if one that is about it
/// has a higher number than the last one when it was asked for.
///
/// A purge notes what it is about and visits no entry. An entry is compared with
/// what was noted when it is next looked up, and not again before the next purge.
/// Notes are bounded: the oldest give way to one about everything that is older.
#[derive(Debug)]
pub(crate) struct Purges {
    newest: AtomicU64,
    records: RwLock<Records>,
    seed: RandomState,
}

/// What purges say about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Current,
    /// It went stale then; `doubtful` if it may have been worse.
    Stale {
        since: Instant,
        doubtful: bool,
    },
    Gone,
}

impl Purges {
    /// Purges of which up to `limit` are noted.
    pub(crate) fn new(limit: usize) -> Self {
        let records = Records { limit, ..Records::default() };
        Self { newest: AtomicU64::new(0), records: records.into(), seed: RandomState::new() }
    }

    /// The number of the newest purge.
    pub(crate) fn newest(&self) -> u64 {
        self.newest.load(Ordering::SeqCst)
    }

    /// Notes a purge; gives the limit if an older one had to give way for it.
    pub(crate) fn purge(&self, scope: Scope<'_>, purge: Purge, now: Instant) -> Option<usize> {
        let subject = self.subject(scope);
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        let number = self.newest() + 1;
        match subject {
            None => records.everything(number, purge, now),
            Some(subject) => records.note(subject, number, purge, now),
        }
        let collapsed = records.collapse(now);
        // Who sees the number waits for the lock, and finds the note.
        self.newest.store(number, Ordering::SeqCst);
        collapsed.then_some(records.limit)
    }

    /// Judges the entry of a target, and marks it; whether it is gone.
    pub(crate) fn judge(&self, target: &Target<'_>, mark: &Mark) -> bool {
        if mark.seen() >= self.newest() {
            return false;
        }
        let records = self.records();
        let subjects = self.subjects(target).chain(mark.tags().iter().copied());
        match records.verdict(mark.seen(), subjects) {
            Verdict::Gone => return true,
            Verdict::Stale { since, doubtful } => mark.stale(since, doubtful),
            Verdict::Current => {}
        }
        mark.see(self.newest());
        false
    }

    /// What the tags are in these fields of a response, to be noted in its mark.
    pub(crate) fn tags(&self, fields: &HeaderMap, names: &[HeaderName]) -> Box<[u64]> {
        let lines = fields.iter().filter(|(name, _)| names.contains(name)).map(|(_, line)| line);
        let tags = lines.flat_map(|line| line.as_bytes().split(|&c| c == b',' || c == b' '));
        let tags = tags.map(<[u8]>::trim_ascii).filter(|tag| !tag.is_empty());
        tags.map(|tag| self.tag(tag)).collect()
    }

    /// What the notes take of memory, in bytes.
    pub(crate) fn weight(&self) -> u64 {
        (self.records().by_subject.len() * RECORD) as u64
    }

    fn records(&self) -> RwLockReadGuard<'_, Records> {
        self.records.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn subject(&self, scope: Scope<'_>) -> Option<u64> {
        match scope {
            Scope::Everything => None,
            Scope::Target(target) => Some(self.whole(&target)),
            Scope::Prefix(target) => self.prefixes(&target).last(),
            Scope::Tag(tag) => Some(self.tag(tag.as_bytes())),
        }
    }

    /// All that a purge may name that is about this target.
    fn subjects<'a>(&'a self, target: &Target<'a>) -> impl Iterator<Item = u64> + 'a {
        self.prefixes(target).chain([self.whole(target)])
    }

    fn tag(&self, tag: &[u8]) -> u64 {
        self.seed.hash_one((b't', tag))
    }

    fn whole(&self, target: &Target<'_>) -> u64 {
        self.seed.hash_one((b'u', target))
    }

    /// The origin of a target with `/`, then with one more segment of the path
    /// each, without the slash behind it and with it.
    fn prefixes<'a>(&self, target: &Target<'a>) -> impl Iterator<Item = u64> + 'a {
        let mut hasher = self.seed.build_hasher();
        (b'p', target.with_query(None).with_path("/")).hash(&mut hasher);
        target.path().split_inclusive('/').flat_map(move |piece| {
            let segment = piece.strip_suffix('/');
            segment.unwrap_or(piece).hash(&mut hasher);
            let without = segment.is_none_or(|segment| !segment.is_empty());
            let without = without.then(|| hasher.finish());
            let with = segment.map(|_| {
                hasher.write_u8(b'/');
                hasher.finish()
            });
            without.into_iter().chain(with)
        })
    }
}

/// What is noted of purges.
#[derive(Debug, Default)]
struct Records {
    by_subject: HashMap<u64, Record, RandomState>,
    /// The subjects by the numbers of their last purges.
    by_age: BTreeMap<u64, u64>,
    limit: usize,
    /// What is older is gone.
    gone: u64,
    /// What is older is stale since then.
    stale: Option<(u64, Instant)>,
    /// What is older may be gone.
    doubtful: u64,
}

/// The last purges of a subject; 0 if there was none of that kind.
#[derive(Clone, Copy, Debug)]
struct Record {
    hard: u64,
    soft: u64,
    at: Instant,
}

impl Records {
    fn everything(&mut self, number: u64, purge: Purge, now: Instant) {
        match purge {
            Purge::Soft => self.stale = Some((number, now)),
            Purge::Hard => {
                self.gone = number;
                self.by_subject.clear();
                self.by_age.clear();
            }
        }
    }

    fn note(&mut self, subject: u64, number: u64, purge: Purge, now: Instant) {
        let new = Record { hard: 0, soft: 0, at: now };
        let record = self.by_subject.entry(subject).or_insert(new);
        self.by_age.remove(&record.last());
        match purge {
            Purge::Soft => (record.soft, record.at) = (number, now),
            Purge::Hard => record.hard = number,
        }
        self.by_age.insert(number, subject);
    }

    /// Keeps the bound; whether something had to give way.
    fn collapse(&mut self, now: Instant) -> bool {
        let mut collapsed = false;
        while self.by_subject.len() > self.limit
            && let Some((number, subject)) = self.by_age.pop_first()
            && let Some(record) = self.by_subject.remove(&subject)
        {
            self.doubtful = self.doubtful.max(record.hard);
            let (others, since) = self.stale.unwrap_or((0, now));
            let since = if others < number { now } else { since };
            self.stale = Some((others.max(number), since));
            collapsed = true;
        }
        collapsed
    }

    /// The verdict on what was current when the purge `seen` was the newest.
    fn verdict(&self, seen: u64, subjects: impl Iterator<Item = u64>) -> Verdict {
        if seen < self.gone {
            return Verdict::Gone;
        }
        let mut since = self.stale.filter(|&(number, _)| seen < number).map(|(_, since)| since);
        if !self.by_subject.is_empty() {
            for record in subjects.filter_map(|subject| self.by_subject.get(&subject)) {
                if seen < record.hard {
                    return Verdict::Gone;
                }
                if seen < record.soft {
                    since = Some(since.map_or(record.at, |since| since.min(record.at)));
                }
            }
        }
        let doubtful = seen < self.doubtful;
        since.map_or(Verdict::Current, |since| Verdict::Stale { since, doubtful })
    }
}

impl Record {
    fn last(&self) -> u64 {
        self.hard.max(self.soft)
    }
}

/// What a note takes of memory, in bytes, with the room that its tables keep.
pub(crate) const RECORD: usize = 128;

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an instant to count from")]
mod tests {
    use std::time::Duration;

    use http::Uri;
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    /// Whether a purge of a prefix is about a target.
    fn covers(prefix: &str, target: &str) -> bool {
        let (prefix, target) = (uri(prefix), uri(target));
        let purges = Purges::new(1);
        let mark = Mark::default();
        purges.purge(Scope::Prefix(Target::from_uri(&prefix)), Purge::Hard, Instant::now());
        purges.judge(&Target::from_uri(&target), &mark)
    }

    #[test]
    fn a_prefix_ends_with_a_segment() {
        for (prefix, target, covered) in [
            ("http://h", "http://h/", true),
            ("http://h", "http://h/a?b", true),
            ("http://H:80/a", "http://h/a", true),
            ("http://h/a", "http://h/a?b", true),
            ("http://h/a", "http://h/a/", true),
            ("http://h/a?x", "http://h/a/b/c", true),
            ("http://h/a", "http://h/ab", false),
            ("http://h/a", "http://h/", false),
            ("http://h/a", "http://h/b/a", false),
            ("http://h/a/", "http://h/a/b", true),
            ("http://h/a/", "http://h/a/", true),
            ("http://h/a/", "http://h/a", false),
            ("http://h/a/b", "http://h/a//b", false),
            ("http://h/a//", "http://h/a//b", true),
            ("http://h/a//", "http://h/a/b", false),
            ("http://h/a", "https://h/a", false),
            ("http://h/a", "http://i/a", false),
            ("/a", "http://h/a", false),
        ] {
            assert_eq!(covers(prefix, target), covered, "{prefix} {target}");
        }
    }

    #[test]
    fn tags_stand_between_spaces_and_commas_in_any_of_the_fields() {
        let purges = Purges::new(1);
        let names = ["a", "b"].map(HeaderName::from_static);
        let fields = [("b", "3"), ("a", " 1,, 2\t,"), ("c", "4"), ("a", "2b")];
        let fields = fields.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let mut tags = purges.tags(&HeaderMap::from_iter(fields), &names);
        let mut meant = ["1", "2", "2b", "3"].map(|tag| purges.tag(tag.as_bytes()));
        tags.sort_unstable();
        meant.sort_unstable();
        assert_eq!(*tags, meant);
    }

    #[test]
    fn an_entry_without_purges_is_not_compared() {
        let purges = Purges::new(8);
        let target = uri("http://h/");
        let mark = Mark::new(0, Box::default());
        let held = purges.records.write().unwrap();
        // It would wait for ever.
        assert!(!purges.judge(&Target::from_uri(&target), &mark));
        drop(held);
    }

    #[test]
    fn purges_of_one_subject_take_one_note() {
        let purges = Purges::new(2);
        for _ in 0..9 {
            assert_eq!(purges.purge(Scope::Tag("a"), Purge::Hard, Instant::now()), None);
            assert_eq!(purges.purge(Scope::Tag("b"), Purge::Soft, Instant::now()), None);
        }
        assert_eq!(purges.weight(), 2 * RECORD as u64);
        assert_eq!(purges.purge(Scope::Tag("c"), Purge::Soft, Instant::now()), Some(2));
        assert_eq!(purges.weight(), 2 * RECORD as u64);
        assert_eq!(purges.purge(Scope::Everything, Purge::Hard, Instant::now()), None);
        assert_eq!(purges.weight(), 0);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Store(&'static str, Vec<&'static str>),
        Look(usize),
        Purge(About, Purge),
    }

    #[derive(Clone, Copy, Debug)]
    enum About {
        Everything,
        Target(&'static str),
        Prefix(&'static str),
        Tag(&'static str),
    }

    impl About {
        fn with<R>(self, apply: impl FnOnce(Scope<'_>) -> R) -> R {
            match self {
                Self::Everything => apply(Scope::Everything),
                Self::Target(text) => apply(Scope::Target(Target::from_uri(&uri(text)))),
                Self::Prefix(text) => apply(Scope::Prefix(Target::from_uri(&uri(text)))),
                Self::Tag(tag) => apply(Scope::Tag(tag)),
            }
        }
    }

    /// An entry, and all purges that were about it.
    struct Stored {
        target: &'static str,
        tags: Vec<&'static str>,
        mark: Mark,
        met: Vec<(Purge, Instant)>,
    }

    impl Stored {
        fn meets(&self, about: About) -> bool {
            match about {
                About::Everything => true,
                About::Target(target) => self.target == target,
                About::Prefix(prefix) => covers(prefix, self.target),
                About::Tag(tag) => self.tags.contains(&tag),
            }
        }
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let about = prop_oneof![
            1 => Just(About::Everything),
            3 => select(TARGETS).prop_map(About::Target),
            4 => select(PREFIXES).prop_map(About::Prefix),
            6 => select(TAGS).prop_map(About::Tag),
        ];
        let step = prop_oneof![
            3 => (select(TARGETS), subsequence(TAGS, 0..=2))
                .prop_map(|(target, tags)| Step::Store(target, tags)),
            4 => any::<usize>().prop_map(Step::Look),
            3 => (about, select(vec![Purge::Soft, Purge::Hard]))
                .prop_map(|(about, purge)| Step::Purge(about, purge)),
        ];
        prop::collection::vec(step, 1..80)
    }

    /// Plays a story with so many notes, and with a list of purges for each entry.
    fn play(limit: usize, steps: Vec<Step>) -> Result<(), TestCaseError> {
        let (purges, start) = (Purges::new(limit), Instant::now());
        let (mut all, mut collapsed) = (Vec::<Stored>::new(), false);
        for (at, step) in steps.into_iter().enumerate() {
            let now = start + Duration::from_secs(at as u64);
            match step {
                Step::Store(target, tags) => {
                    let noted = tags.iter().map(|tag| purges.tag(tag.as_bytes())).collect();
                    let mark = Mark::new(purges.newest(), noted);
                    all.push(Stored { target, tags, mark, met: Vec::new() });
                }
                Step::Purge(about, purge) => {
                    collapsed |= about.with(|scope| purges.purge(scope, purge, now)).is_some();
                    let met = all.iter_mut().filter(|stored| stored.meets(about));
                    met.for_each(|stored| stored.met.push((purge, now)));
                    prop_assert!(purges.weight() <= (limit * RECORD) as u64);
                }
                Step::Look(_) if all.is_empty() => {}
                Step::Look(which) => {
                    let which = which % all.len();
                    let Stored { target, mark, met, .. } = &all[which];
                    let hard = met.iter().any(|(purge, _)| *purge == Purge::Hard);
                    let gone = purges.judge(&Target::from_uri(&uri(target)), mark);
                    let doubtful = mark.is_doubtful();
                    prop_assert!(gone == hard || (collapsed && hard && doubtful));
                    prop_assert!(!gone || hard);
                    // Once seen to be gone it is not looked at again.
                    if gone {
                        all.swap_remove(which);
                    } else if collapsed {
                        prop_assert!(mark.is_stale() || met.is_empty());
                    } else {
                        prop_assert!(mark.is_stale() != met.is_empty() && !doubtful);
                    }
                }
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn the_notes_say_what_a_list_of_all_purges_says(steps in steps()) {
            play(1_000, steps)?;
        }

        #[test]
        fn notes_that_give_way_spare_nothing_that_was_purged(limit in 1_usize..5, steps in steps()) {
            play(limit, steps)?;
        }
    }

    const TARGETS: &[&str] =
        &["http://h/", "http://h/a", "http://h/a?q", "http://h/a/b", "http://h/ab", "http://i/a/b"];
    const PREFIXES: &[&str] = &["http://h/", "http://h/a", "http://h/a/", "http://i/a/b"];
    const TAGS: &[&str] = &["s", "t", "u"];
}
