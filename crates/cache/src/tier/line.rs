use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::futures::Notified;
use tokio::sync::{Notify, watch};
use tower_edge_core::BoxError;

/// How well is heard what others change in a tier.
#[derive(Debug)]
pub(crate) struct Line {
    heard: watch::Sender<Heard>,
    /// Whether it is live: for who has no time to look there.
    is_live: AtomicBool,
    /// When there was news last, in nanoseconds since the first.
    last: AtomicU64,
    first: OnceLock<Instant>,
    /// How long it may be silent, in nanoseconds.
    silence: u64,
    /// Whether somebody listens.
    listens: AtomicBool,
    /// For those who wait for a key; several share one.
    changes: [Notify; CHANGES],
}

#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    state: State,
    /// The number of the last purge that was heard of, once all were.
    last: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nobody has listened yet.
    #[default]
    Silent,
    /// All is known that there is.
    Live,
    /// Something may be missed.
    Lost,
}

impl Line {
    /// A line that may be silent for so long.
    pub(crate) fn new(silence: Duration) -> Self {
        let heard = watch::Sender::new(Heard::default());
        Self {
            heard,
            is_live: AtomicBool::new(false),
            last: AtomicU64::new(0),
            first: OnceLock::new(),
            silence: u64::try_from(silence.as_nanos()).unwrap_or(u64::MAX),
            listens: AtomicBool::new(false),
            changes: [const { Notify::const_new() }; CHANGES],
        }
    }

    /// Whether what others have purged is known.
    pub(crate) fn is_live(&self) -> bool {
        self.is_live.load(Ordering::Acquire)
    }

    /// The same, at this time: who listens may have had no turn to see that there was
    /// no news for too long.
    pub(crate) fn is_live_at(&self, now: Instant) -> bool {
        let until = || self.last.load(Ordering::Acquire).saturating_add(self.silence);
        self.is_live() && self.since_first(now) <= until()
    }

    /// Waits until it is known whether the line is live; fails if it is not.
    pub(super) async fn opened(&self) -> Result<(), BoxError> {
        let mut heard = self.heard.subscribe();
        let known = heard.wait_for(|heard| heard.state != State::Silent).await?;
        if known.is_live() { Ok(()) } else { Err(UNHEARD.into()) }
    }

    /// Waits until a purge is heard of; fails when the line is lost.
    pub(super) async fn told(&self, number: u64) -> Result<(), BoxError> {
        let mut heard = self.heard.subscribe();
        let told = heard.wait_for(|heard| heard.last >= Some(number) || !heard.is_live()).await?;
        if told.is_live() { Ok(()) } else { Err(UNHEARD.into()) }
    }

    /// The number of the last purge that was heard of, if all were once.
    pub(super) fn last(&self) -> Option<u64> {
        self.heard.borrow().last
    }

    /// All up to this purge is known, at this time.
    pub(super) fn hear(&self, last: u64, now: Instant) {
        self.last.store(self.since_first(now), Ordering::Release);
        self.is_live.store(true, Ordering::Release);
        self.set(State::Live, Some(last));
    }

    /// Something may be missed from now on.
    pub(super) fn lose(&self) {
        self.is_live.store(false, Ordering::Release);
        self.set(State::Lost, None);
    }

    /// Ends when others have changed the key with this hash from now on, and now and
    /// then sooner.
    pub(super) fn changed(&self, hash: u64) -> Notified<'_> {
        self.changes[hash as usize % CHANGES].notified()
    }

    /// Others have changed the key with this hash.
    pub(super) fn tell(&self, hash: u64) {
        self.changes[hash as usize % CHANGES].notify_waiters();
    }

    pub(super) fn is_listened_to(&self) -> bool {
        self.listens.load(Ordering::Acquire)
    }

    /// Takes the place of who listens; `None` if somebody has it.
    pub(super) fn listen(&self) -> Option<Listening<'_>> {
        (!self.listens.swap(true, Ordering::AcqRel)).then(|| Listening(self))
    }

    fn since_first(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(*self.first.get_or_init(|| now));
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    fn set(&self, state: State, last: Option<u64>) {
        self.heard.send_if_modified(|heard| {
            let new = Heard { state, last: last.or(heard.last) };
            let is_new = (new.state, new.last) != (heard.state, heard.last);
            *heard = new;
            is_new
        });
    }
}

impl Heard {
    fn is_live(&self) -> bool {
        self.state == State::Live
    }
}

/// The place of who listens; without anybody there, nothing is heard.
pub(super) struct Listening<'a>(&'a Line);

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.0.is_live.store(false, Ordering::Release);
        self.0.set(State::Silent, None);
        self.0.listens.store(false, Ordering::Release);
    }
}

const CHANGES: usize = 64;

const UNHEARD: &str = "what others have purged is not known";
