use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use crate::{Clock, Route, Stopwatch};

/// One request's story: what each layer did and how long it took.
///
/// The outermost layer that wants it keeps the value in its future and makes it
/// the thread's current one around `call` and each poll ([`Trace::scope`]); the
/// layers inside write into the current one, if there is one. No allocation.
/// Work that is spawned has none.
///
/// ```
/// use std::time::Duration;
/// use tower_edge_core::{Step, Trace};
///
/// let mut trace = Trace::default();
/// trace.scope(|| Trace::with(|trace| trace.push(Step::new("cache", Duration::ZERO).note("hit"))));
/// assert_eq!(trace.steps()[0].name, "cache");
/// assert!(Trace::with(|_| ()).is_none());
/// ```
#[derive(Debug, Default)]
pub struct Trace {
    route: Option<Route>,
    called: Option<Instant>,
    steps: [Step; STEPS],
    len: usize,
}

/// One layer's part in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// The layer, or what it did: `cache`, `queue`, `origin`.
    pub name: &'static str,
    /// How it went, such as `hit`; empty when there is nothing to say.
    pub note: &'static str,
    /// How long it took.
    pub duration: Duration,
}

impl Step {
    /// A step with nothing noted.
    pub const fn new(name: &'static str, duration: Duration) -> Self {
        Self { name, note: "", duration }
    }

    /// Says how it went.
    #[must_use]
    pub const fn note(mut self, note: &'static str) -> Self {
        self.note = note;
        self
    }
}

impl Trace {
    /// Runs `f` with this trace as the thread's current one.
    ///
    /// Inside of [`with`](Self::with) it runs `f` without a trace.
    pub fn scope<R>(&mut self, f: impl FnOnce() -> R) -> R {
        Self::scope_if(Some(self), f)
    }

    /// As [`scope`](Self::scope) for a request that may have a trace or none: one
    /// call of `f`, whose result is made where it is wanted.
    #[inline]
    pub fn scope_if<R>(trace: Option<&mut Self>, f: impl FnOnce() -> R) -> R {
        let _restored = trace.map(Swapped::new);
        f()
    }

    /// As [`scope_if`](Self::scope_if) for the `call` phase: until `f` returns,
    /// [`Trace::read`] gives the time that the trace comes with to all layers.
    #[inline]
    pub fn scope_call<R>(trace: Option<(&mut Self, Instant)>, f: impl FnOnce() -> R) -> R {
        let trace = trace.map(|(trace, now)| {
            trace.called = Some(now);
            trace
        });
        Self::scope_if(trace, f)
    }

    /// Runs `f` on the thread's current trace, if there is one.
    #[inline]
    pub fn with<R>(f: impl FnOnce(&mut Self) -> R) -> Option<R> {
        if !IS_TRACED.get() {
            return None;
        }
        let with = |current: &RefCell<Option<Self>>| current.try_borrow_mut().ok()?.as_mut().map(f);
        CURRENT.try_with(with).ok().flatten()
    }

    /// The time, for use in `Service::call` only: read once by the outermost
    /// layer where a request is traced, else from `clock`.
    #[inline]
    pub fn read(clock: &Clock) -> Instant {
        Self::called().unwrap_or_else(|| clock.now())
    }

    /// The same in nanoseconds on `watch`, which runs by the layer's clock.
    #[inline]
    pub fn nanos(watch: &Stopwatch) -> u64 {
        Self::called().map_or_else(|| watch.nanos(), |called| watch.nanos_at(called))
    }

    /// Adds a step; the ninth and later ones are left out.
    pub fn push(&mut self, step: Step) {
        if let Some(free) = self.steps.get_mut(self.len) {
            *free = step;
            self.len += 1;
        }
    }

    /// The steps, in the order in which they were added.
    pub fn steps(&self) -> &[Step] {
        &self.steps[..self.len]
    }

    /// Notes the route that the request matched.
    pub fn note_route(&mut self, route: Route) {
        self.route = Some(route);
    }

    /// The route, if somebody inside noted it.
    pub fn route(&self) -> Option<&Route> {
        self.route.as_ref()
    }

    #[inline]
    fn called() -> Option<Instant> {
        Self::with(|trace| trace.called).flatten()
    }
}

/// Swaps a trace with the current one, and back when dropped, so that a panic
/// leaves no trace behind for the next request.
struct Swapped<'a> {
    own: &'a mut Trace,
    /// What was current before; none if the trace could not be made current.
    previous: Option<Option<Trace>>,
}

impl<'a> Swapped<'a> {
    fn new(own: &'a mut Trace) -> Self {
        let previous = swap(|| Some(std::mem::take(own)));
        Self { own, previous }
    }
}

impl Drop for Swapped<'_> {
    fn drop(&mut self) {
        if let Some(previous) = self.previous.take()
            && let Some(Some(own)) = swap(|| previous)
        {
            *self.own = Trace { called: None, ..own };
        }
    }
}

/// Makes another trace current and returns the one that was; none while that one
/// is being written to, or when the thread is about to end.
fn swap(trace: impl FnOnce() -> Option<Trace>) -> Option<Option<Trace>> {
    let swap = |current: &RefCell<Option<Trace>>| {
        let mut current = current.try_borrow_mut().ok()?;
        let trace = trace();
        IS_TRACED.set(trace.is_some());
        Some(std::mem::replace(&mut *current, trace))
    };
    CURRENT.try_with(swap).ok().flatten()
}

thread_local! {
    static CURRENT: RefCell<Option<Trace>> = const { RefCell::new(None) };
    /// Whether there is a current one: most requests have none, and this is a tenth
    /// of what it takes to look there.
    static IS_TRACED: Cell<bool> = const { Cell::new(false) };
}

const STEPS: usize = 8;

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn push(name: &'static str) {
        Trace::with(|trace| trace.push(Step::new(name, Duration::ZERO)));
    }

    fn names(trace: &Trace) -> Vec<&str> {
        trace.steps().iter().map(|step| step.name).collect()
    }

    #[test]
    fn the_innermost_scope_is_written_to() {
        let (mut outer, mut inner) = (Trace::default(), Trace::default());
        outer.scope(|| {
            push("a");
            inner.scope(|| push("b"));
            push("c");
        });
        push("nowhere");
        assert_eq!(names(&outer), ["a", "c"]);
        assert_eq!(names(&inner), ["b"]);
    }

    #[test]
    fn a_panic_leaves_no_trace_behind() {
        let mut trace = Trace::default();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            trace.scope(|| {
                push("a");
                panic!("on purpose");
            })
        }));
        assert!(panicked.is_err());
        assert!(Trace::with(|_| ()).is_none());
        assert_eq!(names(&trace), ["a"]);
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut trace = Trace::default();
        trace.scope(|| (0..20).for_each(|_| push("a")));
        assert_eq!(trace.steps().len(), STEPS);
    }

    #[test]
    fn a_read_is_shared_in_the_call_phase_only() {
        let clock = Clock::system();
        let earlier = clock.now() - Duration::from_secs(60);
        let mut trace = Trace::default();
        assert_eq!(Trace::scope_call(Some((&mut trace, earlier)), || Trace::read(&clock)), earlier);
        assert_ne!(trace.scope(|| Trace::read(&clock)), earlier);
    }

    #[test]
    fn a_scope_inside_of_with_has_no_trace() {
        let (mut outer, mut inner) = (Trace::default(), Trace::default());
        outer.scope(|| Trace::with(|_| inner.scope(|| push("lost"))));
        assert_eq!((names(&outer), names(&inner)), (vec![], vec![]));
        outer.scope(|| push("a"));
        assert_eq!(names(&outer), ["a"]);
    }
}
