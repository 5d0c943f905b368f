//! Quotas: how many requests a key may make in a time.

mod bucket;
mod charges;
mod gcra;
#[cfg(test)]
mod model;
mod quota;
#[cfg(test)]
mod references;
mod rule;
mod sync;
mod table;
#[cfg(test)]
mod table_laws;
mod window;

pub use quota::Quota;
