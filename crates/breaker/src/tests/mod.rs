//! The tests of what [`model`] compiles once more: below the code they would run
//! there as well.

mod call_ring;
mod hanging;
mod jitter;
mod model;
mod reference;
mod streak;
mod table;
mod time_ring;

fn is_long() -> bool {
    std::env::var_os("TOWER_EDGE_LONG").is_some_and(|long| long == "1")
}
