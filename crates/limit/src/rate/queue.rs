use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::charges::Cost;
use super::table::Spot;

/// Those who wait for their quota: a queue for each key that has some, in which
/// the first one alone keeps the time.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    lines: Mutex<Lines>,
    /// All who wait, so that others need not lock.
    waiting: AtomicUsize,
}

/// The queues by what they are for.
#[derive(Debug, Default)]
pub(crate) struct Lines(HashMap<Line, Queue>);

/// A key of a quota: its bucket and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Line {
    pub(crate) bucket: u16,
    pub(crate) spot: Spot,
}

/// A place in a queue, left when it is dropped: whoever is behind moves up.
#[derive(Debug)]
pub(crate) struct Place {
    queues: Arc<Queues>,
    line: Line,
    number: u64,
}

impl Line {
    /// The key that pays this.
    #[inline]
    pub(crate) fn of(cost: &Cost) -> Self {
        Self { bucket: cost.bucket, spot: cost.spot }
    }
}

impl Queues {
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Takes a place at the end of the queue that `choose` names, with the cost
    /// for which it will be there, unless it says why not.
    pub(crate) fn enter<E>(
        self: &Arc<Self>,
        choose: impl FnOnce(&Lines) -> Result<(Line, u32), E>,
    ) -> Result<Place, E> {
        let mut lines = self.lines();
        let (line, cost) = choose(&lines)?;
        let queue = lines.0.entry(line).or_default();
        let number = queue.next;
        queue.next += 1;
        queue.cost += u64::from(cost);
        queue.waiters.insert(number, Waiter { cost, waker: None });
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Ok(Place { queues: self.clone(), line, number })
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    /// How many wait there.
    pub(crate) fn waiting(&self, line: &Line) -> usize {
        self.0.get(line).map_or(0, |queue| queue.waiters.len())
    }

    /// What they cost together.
    pub(crate) fn cost(&self, line: &Line) -> u64 {
        self.0.get(line).map_or(0, |queue| queue.cost)
    }

    /// Gives up a place; tells whom to wake, who is the first now.
    fn leave(&mut self, line: &Line, number: u64) -> Option<Waker> {
        let queue = self.0.get_mut(line)?;
        let was_behind = queue.behind(number).is_some();
        let left = queue.waiters.remove(&number)?;
        queue.cost -= u64::from(left.cost);
        match queue.waiters.first_entry() {
            None => {
                self.0.remove(line);
                None
            }
            Some(_) if was_behind => None,
            Some(mut first) => first.get_mut().waker.take(),
        }
    }
}

impl Place {
    /// Ready when nobody is before it any more.
    pub(crate) fn poll_first(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut lines = self.queues.lines();
        let queue = lines.0.get_mut(&self.line);
        let Some(waiter) = queue.and_then(|queue| queue.behind(self.number)) else {
            return Poll::Ready(());
        };
        match &mut waiter.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let next = self.queues.lines().leave(&self.line, self.number);
        self.queues.waiting.fetch_sub(1, Ordering::Relaxed);
        if let Some(next) = next {
            next.wake();
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    /// By number, in the order of their arrival.
    waiters: BTreeMap<u64, Waiter>,
    next: u64,
    cost: u64,
}

impl Queue {
    /// The waiter of this number, unless it is the first.
    fn behind(&mut self, number: u64) -> Option<&mut Waiter> {
        let is_first = self.waiters.keys().next() == Some(&number);
        if is_first { None } else { self.waiters.get_mut(&number) }
    }
}

#[derive(Debug)]
struct Waiter {
    cost: u32,
    /// None while nobody has asked whether it is first.
    waker: Option<Waker>,
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::AtomicBool;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    const LINE: Line = Line { bucket: 0, spot: Spot::new(7) };

    fn enter(queues: &Arc<Queues>, cost: u32) -> Place {
        queues.enter(|_| Ok::<_, Infallible>((LINE, cost))).unwrap()
    }

    fn standing(queues: &Queues) -> (usize, u64, usize) {
        let lines = queues.lines();
        (lines.waiting(&LINE), lines.cost(&LINE), queues.waiting())
    }

    fn is_first(place: &Place, woken: &Arc<Woken>) -> bool {
        place.poll_first(&mut Context::from_waker(&Waker::from(woken.clone()))).is_ready()
    }

    #[test]
    fn whoever_leaves_lets_those_behind_move_up() {
        let queues = Arc::new(Queues::default());
        let places = [1, 2, 4].map(|cost| enter(&queues, cost));
        let woken = [(); 3].map(|()| Arc::new(Woken::default()));
        let firsts: Vec<_> =
            places.iter().zip(&woken).map(|(place, woken)| is_first(place, woken)).collect();
        assert_eq!(firsts, [true, false, false]);
        assert_eq!(standing(&queues), (3, 7, 3));

        let [first, second, third] = places;
        drop(second);
        assert!(!woken[2].0.load(Ordering::Relaxed), "the first is still there");
        assert_eq!(standing(&queues), (2, 5, 2));
        drop(first);
        assert!(woken[2].0.load(Ordering::Relaxed) && is_first(&third, &woken[2]));
        drop(third);
        assert_eq!(standing(&queues), (0, 0, 0));
        assert!(queues.lines().0.is_empty(), "a queue without waiters takes no memory");
    }

    #[test]
    fn who_is_turned_away_leaves_nothing() {
        let queues = Arc::new(Queues::default());
        let refused = queues.enter(|lines| Err::<(Line, u32), _>(lines.waiting(&LINE)));
        assert_eq!(refused.unwrap_err(), 0);
        assert_eq!(standing(&queues), (0, 0, 0));
        assert!(queues.lines().0.is_empty());
    }
}
