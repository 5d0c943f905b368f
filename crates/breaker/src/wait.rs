use std::num::NonZeroU64;

/// How long a service made its caller wait: times at which it was asked and had
/// nothing to give. In nanoseconds since some start.
///
/// What a caller does with a response in its own time, such as reading it
/// slowly, is not the service's.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wait {
    /// A nanosecond later, so that there is room for none in a number.
    since: Option<NonZeroU64>,
    total: u64,
}

impl Wait {
    /// The service is waited for, from now on or already.
    pub(crate) fn begin(&mut self, now: impl FnOnce() -> u64) {
        self.since = self.since.or_else(|| NonZeroU64::MIN.checked_add(now()));
    }

    /// It gave something.
    #[inline]
    pub(crate) fn end(&mut self, now: impl FnOnce() -> u64) {
        if let Some(since) = self.since {
            self.since = None;
            self.total += (now() + 1).saturating_sub(since.get());
        }
    }

    /// Whether it is waited for.
    pub(crate) fn is_on(&self) -> bool {
        self.since.is_some()
    }

    /// How long it has been waited for by now, this time.
    pub(crate) fn current(&self, now: u64) -> u64 {
        self.since.map_or(0, |since| (now + 1).saturating_sub(since.get()))
    }

    /// The same, all times together.
    pub(crate) fn total(&self, now: u64) -> u64 {
        self.total + self.current(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_while_it_is_waited_for_counts() {
        let mut wait = Wait::default();
        assert_eq!((wait.current(99), wait.total(99)), (0, 0));
        wait.begin(|| 10);
        wait.begin(|| 20);
        assert_eq!((wait.current(30), wait.total(30)), (20, 20));
        wait.end(|| 40);
        wait.end(|| 90);
        assert_eq!((wait.current(100), wait.total(100)), (0, 30));
        wait.begin(|| 200);
        assert_eq!((wait.current(205), wait.total(205)), (5, 35));
    }
}
