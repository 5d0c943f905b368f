//! What the tests over real connections share: programs, origins and clients
//! on the loopback interface.
//!
//! Whatever a test waits for, it waits for with a deadline.

#![allow(clippy::unwrap_used, reason = "a test may end where it fails")]

mod connection;
mod long;
mod origin;
mod program;
mod recorder;
mod shell;

pub use connection::{Connection, soon};
pub use long::is_long;
pub use origin::Origin;
pub use program::Program;
pub use recorder::Recorder;
pub use shell::{body, is_hit, run, shell};
