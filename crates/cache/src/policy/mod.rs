//! The rules of RFC 9111, on values: no tower, no clock, no waiting.

mod conditions;
mod content;
mod directives;
mod fields;
mod freshness;
#[cfg(test)]
mod fuzz;
mod negotiated;
mod range;
mod reference;
mod request;
mod reuse;
mod rules;
mod storable;
mod targeted;
mod vary;
mod wanted;

pub(crate) use conditions::{
    ask_anyhow, conditions_of, identified, matches_weakly, not_modified, strong_tag, validate,
    without_plain_tag,
};
pub(crate) use content::{Content, content_range};
pub(crate) use directives::{RequestDirectives, ResponseDirectives};
pub(crate) use fields::{
    not_modified_fields, not_modified_lines, partial_fields, stored_fields, unsatisfiable_fields,
    updated_fields,
};
pub(crate) use freshness::{Exchange, Freshness, initial_age};
pub(crate) use negotiated::Negotiated;
pub(crate) use range::{Asked, ask_for};
pub(crate) use reference::{names_target, same_origin};
pub(crate) use request::RequestFields;
pub(crate) use reuse::{Reuse, is_reusable, may_replace_error, reuse};
pub(crate) use rules::Rules;
pub use rules::{SetCookie, StaleOnError};
pub(crate) use storable::{Candidate, Kept, Stale, Unstorable, is_for_others, storable};
pub(crate) use vary::Selection;
pub(crate) use wanted::{Wanted, ranges_of, wanted};
