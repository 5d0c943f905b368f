use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::IF_RANGE;
use http::{HeaderValue, Response};
use http_body::Body;

use crate::body::CacheBody;
use crate::entry::Entry;
use crate::policy::{RequestFields, Wanted, wanted};
use crate::status::StatusField;

/// What answers a request, made of a stored response when it goes out.
///
/// Until then it is small: what is moved from hand to hand costs more than what is
/// made of it.
#[derive(Debug)]
pub(crate) struct Answer {
    entry: Arc<Entry>,
    form: Form,
    age: Duration,
    /// Its member of `Cache-Status`.
    member: Option<HeaderValue>,
}

/// What a client gets of a stored response.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) wanted: Wanted,
    pub(crate) head_only: bool,
    /// Whether parts are for who has others.
    pub(crate) if_range: bool,
}

impl Answer {
    /// The answer to a request that wants it in this form.
    pub(crate) fn new(
        entry: &Arc<Entry>,
        form: Form,
        age: Duration,
        member: Option<HeaderValue>,
    ) -> Self {
        Self { entry: entry.clone(), form, age, member }
    }

    pub(crate) fn response<B: Body<Data = Bytes>>(mut self) -> Response<CacheBody<B>> {
        let is_whole = matches!(self.form.wanted, Wanted::Whole);
        let own = if is_whole { Entry::take_fields(&mut self.entry) } else { None };
        let mut response = match own {
            Some(fields) => self.entry.whole(fields, self.form.head_only, self.age),
            None => self.entry.response(self.form, self.age),
        };
        StatusField::put(self.member, response.headers_mut());
        response
    }
}

impl Form {
    /// The form in which these fields ask for a response (RFC 9111 §4.3.2).
    pub(crate) fn of(request: &RequestFields<'_>, head_only: bool, entry: &Entry) -> Self {
        let length = (!head_only && entry.has_parts()).then(|| entry.content.length());
        let wanted = wanted(request, entry.status, &entry.fields, length);
        let if_range = matches!(wanted, Wanted::Ranges(_)) && request.contains_key(IF_RANGE);
        Self { wanted, head_only, if_range }
    }
}
