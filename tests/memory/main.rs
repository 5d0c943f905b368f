//! What a cache takes of memory, however it is asked.

#![allow(clippy::unwrap_used, reason = "a test may end where it fails")]

mod bound;
