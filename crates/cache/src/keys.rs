use std::borrow::Cow;
use std::sync::Arc;

use tower_edge_core::{ExtractKey, Key, RequestHead, Target};

use crate::resource::Resource;

/// How requests are keyed.
#[derive(Clone, Default)]
pub(crate) struct Keys {
    /// Whether the order of parameters does not matter.
    pub(crate) sorted: bool,
    /// The names of parameters that do not matter.
    pub(crate) ignored: Vec<Box<str>>,
    /// Whose a request is, where that is to be told apart.
    pub(crate) user: Option<Arc<dyn ExtractKey>>,
}

/// The resource of a request, and what of it had to be made.
#[derive(Debug)]
pub(crate) struct Named<'a> {
    target: Target<'a>,
    query: Option<Cow<'a, str>>,
    user: Option<Key>,
}

impl Keys {
    /// The resource of a request; none if it is nobody's.
    pub(crate) fn of<'a>(&self, request: &RequestHead<'a>) -> Option<Named<'a>> {
        let user = match &self.user {
            None => None,
            Some(extract) => Some(extract.key(request)?),
        };
        Some(Named { user, ..self.shared(request.target()) })
    }

    /// The resource of a target, as if it were the same for all users.
    pub(crate) fn shared<'a>(&self, target: Target<'a>) -> Named<'a> {
        Named { target, query: self.query(target.query()), user: None }
    }

    fn query<'a>(&self, query: Option<&'a str>) -> Option<Cow<'a, str>> {
        let query = query?;
        let is_ignored = |parameter: &&str| self.ignored.iter().any(|no| **no == *name(parameter));
        let in_order = !self.sorted || query.split('&').is_sorted_by_key(name);
        if in_order && (self.ignored.is_empty() || !query.split('&').any(|all| is_ignored(&all))) {
            return Some(Cow::Borrowed(query));
        }
        let mut left: Vec<_> = query.split('&').filter(|all| !is_ignored(all)).collect();
        if self.sorted {
            left.sort_by_key(|parameter| name(parameter));
        }
        (!left.is_empty()).then(|| Cow::Owned(left.join("&")))
    }
}

impl Named<'_> {
    pub(crate) fn resource(&self) -> Resource<'_> {
        let target = self.target.with_query(self.query.as_deref());
        Resource::new(target, self.user.as_ref())
    }
}

fn name(parameter: &str) -> &str {
    parameter.split('=').next().unwrap_or(parameter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(sorted: bool, ignored: &[&str]) -> Keys {
        let ignored = ignored.iter().map(|&name| name.into()).collect();
        Keys { sorted, ignored, user: None }
    }

    #[test]
    fn a_query_is_brought_into_order_and_rid_of_what_does_not_matter() {
        for (sorted, ignored, query, normal) in [
            (false, &[][..], "b=1&a=2", "b=1&a=2"),
            (true, &[], "b=1&a=2", "a=2&b=1"),
            (true, &[], "b&a=2&a=1&", "&a=2&a=1&b"),
            (true, &["b"], "b=1&a=2&bc&b", "a=2&bc"),
            (false, &["b", "a"], "c=1&b=1&A=2", "c=1&A=2"),
            (true, &["b"], "", ""),
        ] {
            let keys = keys(sorted, ignored);
            assert_eq!(keys.query(Some(query)).unwrap(), normal, "{query}");
        }
        let keys = keys(true, &["b", "a"]);
        assert_eq!((keys.query(Some("a=1&b")), keys.query(None)), (None, None));
    }

    proptest! {
        #[test]
        fn a_query_in_order_is_borrowed_and_the_same_for_all_orders(
            mut parameters in prop::collection::vec("[a-d](=[0-9])?", 1..8),
            ignored: bool,
        ) {
            let keys = keys(true, if ignored { &["c"] } else { &[] });
            let query = parameters.join("&");
            let normal = keys.query(Some(&query)).map(Cow::into_owned);
            let again = keys.query(normal.as_deref());
            prop_assert!(matches!(again, None | Some(Cow::Borrowed(_))));
            prop_assert_eq!(again.as_deref(), normal.as_deref());
            // Those of one name keep their order.
            parameters.sort_by(|a, b| name(b).cmp(name(a)));
            let other = parameters.join("&");
            let other = keys.query(Some(&other));
            prop_assert_eq!(other.as_deref(), normal.as_deref());
        }
    }
}
