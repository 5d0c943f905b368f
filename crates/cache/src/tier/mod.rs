//! What may stand behind memory.

mod behind;
mod budget;
mod figures;
mod layout;
mod leasing;
mod line;
mod listening;
mod note;
mod pending;
mod reading;
mod record;
mod writing;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tower_edge_core::BoxError;

pub(crate) use behind::Behind;
pub use figures::TierStats;
pub(crate) use leasing::Hold;
pub(crate) use note::Note;
pub(crate) use reading::Loaded;

/// A store behind the memory of a cache: slower and larger, one that survives a
/// restart, or one that several nodes share.
///
/// The cache asks it for what memory lacks, once for all who want the same, and
/// writes to it behind the back of clients: nobody waits for a write. All that it
/// holds are records: bytes that only the cache can read, with a version and a
/// checksum, which it compares with the key that it asked for. What cannot be read
/// is a miss, so a tier need not know what is torn, foreign or outdated.
///
/// [`CacheLayer::tier`](crate::CacheLayer::tier) puts it behind a cache.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
///
/// use bytes::Bytes;
/// use tower_edge_cache::{CacheLayer, Change, Notes, Tier, TierFuture};
///
/// #[derive(Debug, Default)]
/// struct Table {
///     records: Mutex<HashMap<Bytes, HashMap<u128, Bytes>>>,
///     notes: Mutex<Notes>,
/// }
///
/// impl Tier for Table {
///     fn name(&self) -> &'static str {
///         "table"
///     }
///
///     fn get<'a>(&'a self, key: &'a [u8]) -> TierFuture<'a, Vec<Bytes>> {
///         let records = self.records.lock().expect("nobody panics with it");
///         let found = records.get(key).into_iter().flat_map(HashMap::values).cloned().collect();
///         Box::pin(async { Ok(found) })
///     }
///
///     fn write<'a>(&'a self, changes: &'a [Change]) -> TierFuture<'a, ()> {
///         let mut records = self.records.lock().expect("nobody panics with it");
///         for change in changes.iter().cloned() {
///             match change {
///                 Change::Put { key, variant, record, .. } => {
///                     records.entry(key).or_default().insert(variant, record);
///                 }
///                 Change::Remove { key, variant: Some(variant), .. } => {
///                     records.entry(key).or_default().remove(&variant);
///                 }
///                 Change::Remove { key, .. } => drop(records.remove(&key)),
///                 // Whatever else there may be, less is never wrong.
///                 _ => records.clear(),
///             }
///         }
///         Box::pin(async { Ok(()) })
///     }
///
///     fn note(&self, note: Bytes) -> TierFuture<'_, u64> {
///         let mut noted = self.notes.lock().expect("nobody panics with it");
///         let number = noted.notes.len() as u64 + 1;
///         noted.notes.push((number, note));
///         Box::pin(async move { Ok(number) })
///     }
///
///     fn notes(&self) -> TierFuture<'_, Notes> {
///         let notes = self.notes.lock().expect("nobody panics with it").clone();
///         Box::pin(async { Ok(notes) })
///     }
/// }
///
/// let layer = CacheLayer::new(256 << 20).tier(Table::default());
/// ```
///
/// # Errors and waiting
///
/// A failed look is a miss. A failed write is not repeated: what it would have
/// replaced is removed with the next one that succeeds, and not looked at until
/// then. An implementation is to end each future after a time of its own, since
/// requests wait for [`get`](Self::get).
///
/// # Cancel safety
///
/// The futures may be dropped at any time. A write that was dropped is made again.
///
/// # Several nodes
///
/// A tier that several caches write to says so by [`is_shared`](Self::is_shared).
/// Each of them hears by [`news`](Self::news) what the others have purged or put, and
/// takes it out of its memory. While a cache hears nothing it validates what it holds
/// before it answers ([`CacheLayer::on_outage`](crate::CacheLayer::on_outage)), and
/// does not look into the tier. Who has missed something gives its memory up. An
/// invalidation by an unsafe request is noted as a purge, so that what was asked for
/// before it is not believed, whenever and by whomever it is written.
///
/// Who has the [lease](Self::lease) of a key fetches it for all. Requests to the others
/// wait until it is stored, for 5 seconds at most: what takes longer, as a large body may,
/// they ask for themselves then. What turns out not to be stored they need not wait for.
pub trait Tier: fmt::Debug + Send + Sync + 'static {
    /// What it is called in events: `sqlite`, `redis`, ...
    fn name(&self) -> &'static str;

    /// How long a request may wait for it, in all that it asks for together; as long as
    /// it takes by default.
    ///
    /// A single call is to end by itself within that time. What a request waits for
    /// another node is not counted.
    fn budget(&self) -> Duration {
        Duration::MAX
    }

    /// The records of a key, in any order; one for each variant.
    fn get<'a>(&'a self, key: &'a [u8]) -> TierFuture<'a, Vec<Bytes>>;

    /// Makes changes, in this order.
    fn write<'a>(&'a self, changes: &'a [Change]) -> TierFuture<'a, ()>;

    /// Adds a purge to those that are noted, behind all of them; gives its number,
    /// which is larger than theirs. When it is told, the note is kept.
    fn note(&self, note: Bytes) -> TierFuture<'_, u64>;

    /// The purges that are noted.
    fn notes(&self) -> TierFuture<'_, Notes>;

    /// Whether others write to it as well, of which [`news`](Self::news) tells.
    ///
    /// Then what memory holds is believed only while there is news.
    fn is_shared(&self) -> bool {
        false
    }

    /// What has happened since the last news, or since [`notes`](Self::notes) told
    /// what there is; called again and again by one task.
    ///
    /// It waits until there is something, but not for long: news of nothing says
    /// that nothing was missed, and for as long as that may take, others may go on
    /// using what was purged. Once it has failed, what memory holds is not believed
    /// before there is news again.
    fn news(&self) -> TierFuture<'_, News> {
        Box::pin(std::future::pending())
    }

    /// How long there may be no news until what memory holds is no longer believed,
    /// though [`news`](Self::news) has not failed yet: who waits for it may get no turn,
    /// in a process that is stopped or starved. As long as it takes, by default.
    fn silence(&self) -> Duration {
        Duration::MAX
    }

    /// Asks for the right to fetch what a key stands for, which one of those who share
    /// the tier has at a time; who has it asks again to keep it.
    ///
    /// It ends by itself, so that another goes on when its holder dies, and by
    /// [`Change::Release`].
    fn lease<'a>(&'a self, _key: &'a [u8]) -> TierFuture<'a, Lease> {
        Box::pin(async { Ok(Lease::Held { fence: 0, lasts: Duration::MAX }) })
    }
}

/// A future of a [`Tier`].
pub type TierFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send + 'a>>;

/// What becomes of what memory holds while a cache cannot hear what others purge,
/// who share its [`Tier`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnOutage {
    /// The origin is asked whether it is good, and nothing stands in for an origin
    /// that fails.
    #[default]
    Miss,
    /// It answers as ever, though it may have been purged meanwhile.
    Stale,
}

/// What a cache changes in a [`Tier`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A record is to be stored, in place of the one of the same variant.
    Put {
        /// Up to some 64 KiB; compared in full by the cache.
        key: Bytes,
        /// Tells the records of a key apart.
        variant: u128,
        /// What is to be stored.
        record: Bytes,
        /// How long it is of use. It may go sooner or stay longer.
        keep: Duration,
        /// That of the [`Lease`] under which it was fetched: if another holder had a
        /// later one and has put, this is not to be put. It is no error.
        fence: Option<u64>,
    },
    /// The record of a variant is to go.
    Remove {
        /// As it was put.
        key: Bytes,
        /// As it was put; `None` stands for all of the key.
        variant: Option<u128>,
    },
    /// All records are to go; what is noted of purges stays.
    Clear,
    /// A lease is to end, if it has not; those who wait for the key are to hear of it
    /// as of a change.
    Release {
        /// As it was asked for.
        key: Bytes,
        /// That of the lease.
        fence: u64,
    },
}

/// The answer to who wants to fetch what a key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// It may.
    Held {
        /// Larger than those of all leases of the key before.
        fence: u64,
        /// After so long it ends, unless it is asked for again.
        lasts: Duration,
    },
    /// Another is at it.
    Taken,
}

/// The purges that a [`Tier`] has noted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// The number of the last one that is no longer known; 0 if all are. Records
    /// from before it are misses.
    pub forgotten: u64,
    /// The others by their numbers, in order.
    pub notes: Vec<(u64, Bytes)>,
}

/// What has happened in a [`Tier`] that others write to as well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Whether there may have been more than is told: then memory is given up, and
    /// [`Tier::notes`] is asked what there is.
    pub missed: bool,
    /// The keys of records that others have put or removed.
    pub changed: Vec<Bytes>,
    /// The purges that were noted, by their numbers, in order; without the note
    /// those that were noted from here.
    pub notes: Vec<(u64, Option<Bytes>)>,
}
