//! A cache tier and quotas in Redis or Valkey: what nodes share, and what outlives them.
//!
//! [`RedisTier`] stands behind the memory of a cache, [`RedisQuotas`] behind a rate
//! limit. Each has connections and a circuit of its own.
//!
//! ```
//! use tower_edge_cache::CacheLayer;
//! use tower_edge_redis::RedisTier;
//!
//! # fn main() -> Result<(), tower_edge_redis::UrlError> {
//! let tier = RedisTier::new("redis://127.0.0.1:6379")?.prefix("shop");
//! let cache = CacheLayer::new(256 << 20).tier(tier);
//! # Ok(())
//! # }
//! ```
//!
//! It wants Redis 7.0 or Valkey, alone or as a Cluster, and speaks RESP3. It is tested
//! with Redis 7.0, and was with Valkey 9.1, but for TLS.
//!
//! # What it does
//!
//! - **Looks** in one round trip over one connection that all requests share: under
//!   load many are under way at once. All variants of a resource are in one hash.
//! - **Writes** what a cache gives it at once in one trip, over a connection of their
//!   own; those of one resource are made together by a script or not at all.
//! - **Keeps** a resource as long as the record of it that is of use longest, the
//!   times included for which it may be served stale.
//! - **Waits** for a look up to its [deadline](RedisTier::deadline), a request for all
//!   that it asks for together no longer than that, and while the circuit in front is
//!   open not at all: five failures in a row open it, or half of
//!   20 calls or more within 10 seconds. Then it tries by itself, in a task, first
//!   within 200 ms and at least every 5 seconds, until Redis is well; no request has
//!   to be the one that tries.
//! - **Believes** nothing: what is not of the key that it asked for ends the
//!   connection; a record has a version and a checksum for the cache to compare.
//! - **Tells** nodes of each other: what one purges, puts or removes is in a log that
//!   all of them read, each waiting for news on a connection of its own. They come
//!   within milliseconds. Who has heard nothing for twice the
//!   [heartbeat](RedisTier::heartbeat) and the deadline, 550 ms by default, believes
//!   nothing in its memory any more until it has read all that is noted: so long may
//!   a node go on using what another has purged, and never longer, also where it is
//!   stopped meanwhile. It counts from when the purge is noted: [`CacheHandle::flush`]
//!   waits for that, and who sends an unsafe request may have the answer before.
//! - **Lets one node fetch** what all want: who has the [lease](RedisTier::lease_for)
//!   of a resource. A fence keeps who was overtaken from writing. The others wait until
//!   all of it is stored, for 5 seconds at most: a body that takes longer each of them
//!   fetches by itself then.
//! - **Logs** at most once a second (`tracing`), never a name or a password.
//!
//! # What quotas do
//!
//! - **Count** by GCRA, in one script and by the clock of Redis, so that those of the
//!   nodes do not matter: of several quotas of a key at once, together or not at all. They
//!   lie in one slot.
//! - **Grant** permits in batches, also those that come back within 200 ms, each for its
//!   time: what is not used goes back. A node that is asked 1,000 times a second asks
//!   Redis at most ten times. [`RateLimitLayer::exact`] asks about each request.
//! - **Wait** up to the [deadline](RedisQuotas::deadline) for what is not in hand, and not
//!   at all after three failures in a row; then they go on as [`OnOutage`] says.
//! - **Know** how many nodes there are: each says once a second that it is there, and is
//!   counted for 5 seconds.
//!
//! [`RateLimitLayer::exact`]: tower_edge_limit::RateLimitLayer::exact
//! [`OnOutage`]: tower_edge_limit::OnOutage
//!
//! # What lies in Redis
//!
//! All keys begin with the [prefix](RedisTier::prefix).
//!
//! | key | type | what it is |
//! |---|---|---|
//! | `P:{D}:G` | hash | a resource: `D` is a digest of its key, `G` the generation; a field for each variant, up to 32 as in memory |
//! | `P:{D}:G:I:N` | string | the chunk with the number `N` of a record `I` that is larger than a [chunk](RedisTier::chunks), 512 KiB; in the slot of its resource |
//! | `P:{D}:lease` | hash | who may fetch the resource, until when, and the fence; gone a minute after it has ended |
//! | `P:{log}:generation` | string | which generation counts: to clear is to write another one, however much there is; what is left goes when its time is over |
//! | `P:{log}:notes` | stream | the purges, up to some 65,536: their ids are their numbers |
//! | `P:{log}:changes` | stream | which keys were changed, and generations that began: some 4,096 entries of up to 16 KiB |
//! | `P:{D}:quota:NAME` | string | what a key, whose digest is `D`, has used of the quota by this name, and when that was; gone when all of it is back |
//! | `P:{quotas}:nodes` | sorted set | the nodes that share quotas, by when they were heard of last |
//!
//! A record in chunks takes one more trip, for all of them; one that lacks a chunk
//! is a miss.
//!
//! Streams, and not the tracking of clients by the server: what has come since is
//! known by the ids, after a lost connection too, and a gap is found out, since a
//! stream says where it begins. Tracking tells what was changed while somebody was
//! connected, and all must be forgotten after that.
//!
//! # When something fails
//!
//! | what | what happens |
//! |---|---|
//! | Redis is not there, at the start or later | looks are misses at once, or after the deadline until the circuit opens; the cache goes on from memory and from the origin |
//! | it hangs, or the way there is silent | looks are misses after the deadline until the circuit opens; a connection with three such in a row is replaced |
//! | it is back | found out within 5 seconds, without a restart |
//! | a node dies while it fetches for all | another does when its lease has ended, 3 seconds at most |
//! | a node hears no news | it validates what it holds before it answers, or goes on ([`CacheLayer::on_outage`]); then it reads what was noted |
//! | more has happened than the log holds, while a node heard nothing | it forgets its memory |
//! | a fail-over loses what was acknowledged | found out by nodes that had heard of it, which forget their memory and keep to the purges; nodes that had not heard never will |
//! | a master of a Cluster dies | looks and writes in its slots are misses and failures, up to the deadline each, until a replica has taken its place; the others go on. If it had the log, nobody hears news until then |
//! | it has lost its data | all is a miss; purges that were noted are forgotten, and with them all records of before them |
//! | it has no memory left and may not evict | puts fail; removals do not |
//! | it evicts a record, a chunk, the generation or the notes | a miss of the record; of all that there is |
//! | answers are torn or garbled | the connection is replaced; the cache finds by the checksum what is garbled within a record |
//! | it loses or evicts what a key has used of a quota | that key has its burst once more; a node that knew it to be used up asks again after a failure of the connection, or when there would have been a permit |
//! | it gives no answer about a quota | a request waits up to the deadline; after three failures nobody does. What is in hand is used; then nodes admit all, nothing or each its part ([`RateLimitLayer::on_outage`]) |
//! | a node dies with permits in hand | they are lost; nothing more is admitted for that |
//! | its clock is set forth, or back | at most a burst comes back at once; nothing comes back until the next request of the key |
//! | an answer about a quota is lost, or its request is dropped | what was taken then is lost |
//! | a write is given up, and made after all, late | it undoes nothing of the writes behind it within a minute: those leave a number that it does not have |
//!
//! A look or a write may be dropped at any time. What was sent may be done then, as
//! one that was given up. News that are dropped come again.
//!
//! [`RateLimitLayer::on_outage`]: tower_edge_limit::RateLimitLayer::on_outage
//! [`CacheHandle::flush`]: tower_edge_cache::CacheHandle::flush
//! [`CacheLayer::on_outage`]: tower_edge_cache::CacheLayer::on_outage
//!
//! # Rights
//!
//! This is all that the cache needs, with the prefix `tower-edge`:
//!
//! ```text
//! ACL SETUSER edge on >secret resetkeys ~tower-edge:* resetchannels -@all \
//!     +hvals +get +set +unlink +eval +exists +xadd +xrange +xrevrange +xread \
//!     +hget +hmget +hset +hdel +hstrlen +hkeys +pttl +pexpire +time
//! ```
//!
//! and `+cluster|slots` for a Cluster, on each of its nodes; for
//! [`RedisHandle::stats`] `+info` and `+dbsize` too.
//!
//! For quotas alone it is
//!
//! ```text
//! ACL SETUSER edge on >secret resetkeys ~tower-edge:* resetchannels -@all \
//!     +evalsha +eval +time +get +set +del +unlink +zadd +zremrangebyscore +zcard +pexpire
//! ```
//!
//! # What a look costs
//!
//! `cargo bench --bench tiers` on a shared machine of 2 cores, on which Redis ran too; the
//! least and the most of interleaved rounds, since they were far apart:
//!
//! | | a bare GET | a hit that Redis answers |
//! |---|---|---|
//! | 1 KiB | 179 to 378 us | 182 to 246 us |
//! | 100 KiB | 234 to 293 us | 283 to 295 us |
//! | 1 KiB, 64 at once, each | 5.8 to 8.7 us | 15.3 to 27.9 us |
//!
//! One at a time it is the trip that takes the time, and chance. With 64 at once it is
//! twice to two and a half times a GET, because of the thread that asks: 33,000
//! instructions a hit, all of the request included, as callgrind counts them (3,400 of
//! them for SHA-256, which many processors have built in), and 7,000 a bare GET.
//!
//! # What quotas cost
//!
//! `cargo bench --bench limit -- redis` on a shared machine of 2 cores, medians of three
//! interleaved rounds:
//!
//! | | a request | allocations |
//! |---|---|---|
//! | a bare round trip, GET | 167 us | 6 |
//! | a quota that is asked about each request | 247 us | 27 |
//! | a quota of which permits are in hand | 0.2 us | 0 |
//!
//! The last takes 1,120 instructions, all of the request included, and one lock of 64 for
//! as long as it takes to look at the key.
//!
//! # What it does not
//!
//! - A quota is counted whose burst takes up to 35 years to come back; what is longer is
//!   decided as in an outage.
//! - Redis is not asked to keep anything: it may evict and lose what it likes. Nor
//!   does the tier bound what it holds there; `maxmemory` does.
//! - It does not read from replicas, and does not find masters by Sentinels.

mod address;
mod calling;
mod connection;
mod error;
mod fence;
mod generation;
mod handle;
mod keys;
mod leasing;
mod link;
mod log;
mod looking;
mod noting;
mod numbers;
mod quota;
mod shared;
mod store;
mod tier;
mod trouble;
mod value;
mod writing;

pub use error::UrlError;
pub use handle::{RedisHandle, RedisStats};
pub use quota::RedisQuotas;
pub use tier::RedisTier;
