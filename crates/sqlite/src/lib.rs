//! A cache tier in a SQLite file: what it holds is there after a restart.
//!
//! ```no_run
//! use tower_edge_cache::CacheLayer;
//! use tower_edge_sqlite::SqliteTier;
//!
//! # fn main() -> Result<(), tower_edge_sqlite::OpenError> {
//! let tier = SqliteTier::open("/var/cache/shop.db", 4 << 30)?;
//! if let Some(aside) = tier.set_aside() {
//!     eprintln!("the file of before could not be used and is now {}", aside.display());
//! }
//! let cache = CacheLayer::new(256 << 20).tier(tier);
//! # Ok(())
//! # }
//! ```
//!
//! # What it does
//!
//! - **Reads** beside the requests, in threads of its own; when too many wait, the
//!   rest are misses at once.
//! - **Writes** many changes in one transaction, in another thread. What was written
//!   when the process was killed is there; the batch that was being written is lost
//!   as a whole. After a loss of power the last batches may be missing (the log is
//!   synchronized at checkpoints: `synchronous=NORMAL`).
//! - **Stays within its capacity**: records go when they are of no use any more, and
//!   beyond that those first that were used longest ago (to the minute).
//! - **Sets aside** a file that is damaged or of another version, under another name,
//!   and begins with an empty one. A database that is none of ours is not touched:
//!   [`OpenError`].
//! - **Locks** the file, so that a second process is refused.
//!
//! # What it does not
//!
//! A disk that hangs holds up what memory does not have, as with any file.

mod connection;
mod error;
mod file;
mod records;
mod tier;
mod worker;

pub use error::OpenError;
pub use tier::SqliteTier;
