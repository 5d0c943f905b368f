//! The rules of RFC 9111, on values: no tower, no clock, no waiting.

mod conditions;
mod directives;
mod fields;
mod freshness;
mod reuse;
mod storable;
mod vary;

pub(crate) use conditions::{not_modified, validate};
pub(crate) use directives::{RequestDirectives, ResponseDirectives};
pub(crate) use fields::{not_modified_fields, stored_fields, updated_fields};
pub(crate) use freshness::{Exchange, Freshness};
pub(crate) use reuse::{Reuse, reuse};
pub(crate) use storable::{Kept, storable};
pub(crate) use vary::Selection;
