use std::fmt;

use metrics::Key;

/// Labels with names that Prometheus takes, in order, each of them once.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Labels(Vec<(String, String)>);

impl Labels {
    pub(super) fn of(key: &Key) -> Self {
        Self::new(key.labels().map(|label| (label.key(), label.value())))
    }

    pub(super) fn new<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let labels = labels.into_iter();
        let mut labels: Vec<_> =
            labels.map(|(name, value)| (identifier(name, |_| false), value.to_owned())).collect();
        labels.sort_unstable();
        labels.dedup_by(|one, other| one.0 == other.0);
        Self(labels)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

/// As they stand between braces.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, value)) in self.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            write!(f, "{comma}{name}=\"{value}\"")?;
        }
        Ok(())
    }
}

/// A name with `_` in place of what Prometheus does not take.
pub(super) fn identifier(name: &str, is_allowed: impl Fn(char) -> bool) -> String {
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_' || is_allowed(c);
    let mut text: String = name.chars().map(|c| if valid(c) { c } else { '_' }).collect();
    if text.starts_with(|c: char| c.is_ascii_digit()) || text.is_empty() {
        text.insert(0, '_');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_each_stands_once() {
        let with = |labels: &[(&'static str, &'static str)]| {
            Labels::new(labels.iter().copied()).to_string()
        };
        assert_eq!(with(&[]), "");
        assert_eq!(with(&[("b.c", "1"), ("a", "x\"y\\z\n")]), r#"a="x\"y\\z\n",b_c="1""#);
        assert_eq!(with(&[("a.b", "1"), ("a_b", "2")]), r#"a_b="1""#);
    }
}
