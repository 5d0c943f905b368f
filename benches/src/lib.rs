//! The harness of the benches: one definition of a scenario serves timings,
//! allocation counts and profiles.
//!
//! A bench file makes a [`Bench`] of cases, each one implementation of one
//! scenario: [`Calls`] of a service, or [`Clones`] of it. Its id is
//! `<group>/<scenario>/<implementation>`, where the implementation is `bare`,
//! `tower-edge` or the name of a published crate. For each bench:
//!
//! ```text
//! cargo bench --bench overhead                            criterion's timings
//! cargo bench --bench overhead -- --test                  each case once, quickly
//! cargo bench --bench overhead -- --list                  the ids
//! cargo bench --bench overhead -- --counts [PART OF ID]   ID ALLOCATIONS BYTES
//! cargo bench --bench overhead -- --only ID N             so many requests of one case
//! ```
//!
//! - A request goes through `poll_ready` and `call` in process, on one thread,
//!   and its body is read to the end. It is polled by hand; a tokio runtime is
//!   there, and is driven when something was spawned or is pending.
//! - Requests are built, and clones dropped, outside the measured part. The
//!   cost of the harness itself is that of `bare`: subtract it.
//! - Allocations are those of this thread, after warm-up, as the mean of some
//!   thousand requests: whole where they are constant, else to a tenth.
//! - With `--only` the requests, and nothing else, run inside a function by the
//!   name of `measured`, so that a profile can leave the set-up out:
//!   `valgrind --tool=callgrind --toggle-collect='*measured*' BENCH --only ID N`.
//! - A case proves itself before it is measured, with two requests: the second
//!   reply must have the status, the length and the number of upstream calls that
//!   the scenario expects.
//!
//! ```
//! use std::process::ExitCode;
//!
//! use http::StatusCode;
//! use tower_edge_benches::{Bench, Reply, Requests, Scenario, Upstream};
//!
//! fn main() -> ExitCode {
//!     let mut bench = Bench::new("overhead");
//!     let get = Requests::get("http://bench.test/");
//!     let nothing = Scenario::new("nothing", get, Upstream::new(1_024));
//!     bench.calls(&nothing, "bare", Reply::new(StatusCode::OK, 1_024), |upstream| upstream);
//!     # if true { return ExitCode::SUCCESS }
//!     bench.run()
//! }
//! ```

mod args;
mod bench;
mod beside;
mod calls;
mod clones;
mod meter;
mod requests;
mod stage;
mod upstream;
mod within;

pub use self::args::is_trial;
pub use self::bench::{Bench, Scenario};
pub use self::beside::Beside;
pub use self::calls::{Calls, Reply};
pub use self::clones::Clones;
pub use self::requests::{Client, Requests};
pub use self::stage::{Executor, Stage, Work};
pub use self::upstream::{Answer, Upstream};
