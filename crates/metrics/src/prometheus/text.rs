//! The text format of Prometheus, version 0.0.4.

use std::fmt::Write;

use metrics::Unit;

use super::labels::identifier;
use super::offer::Counted;

/// A name that Prometheus takes, with the unit that OpenTelemetry's rules add.
pub(super) fn name(name: &str, unit: Option<Unit>, is_counter: bool) -> String {
    let mut name = identifier(name, |c| c == ':');
    let unit = match unit {
        Some(Unit::Seconds) => "_seconds",
        Some(Unit::Bytes) => "_bytes",
        _ => "",
    };
    for suffix in [unit, if is_counter { "_total" } else { "" }] {
        if !name.ends_with(suffix) {
            name.push_str(suffix);
        }
    }
    name
}

pub(super) fn head(text: &mut String, name: &str, kind: &str, help: Option<&str>) {
    if let Some(help) = help {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(text, "# HELP {name} {help}");
    }
    let _ = writeln!(text, "# TYPE {name} {kind}");
}

pub(super) fn sample(text: &mut String, name: &str, labels: &str, value: f64) {
    let value = number(value);
    let _ = match labels {
        "" => writeln!(text, "{name} {value}"),
        labels => writeln!(text, "{name}{{{labels}}} {value}"),
    };
}

pub(super) fn histogram(
    text: &mut String,
    name: &str,
    labels: &str,
    bounds: &[f64],
    counted: &Counted,
) {
    let comma = if labels.is_empty() { "" } else { "," };
    let bucket = format!("{name}_bucket");
    let bounds = bounds.iter().copied().chain([f64::INFINITY]);
    for (bound, count) in bounds.zip(&counted.cumulative) {
        let labels = format!("{labels}{comma}le=\"{}\"", number(bound));
        sample(text, &bucket, &labels, *count as f64);
    }
    sample(text, &format!("{name}_sum"), labels, counted.sum);
    sample(text, &format!("{name}_count"), labels, counted.count() as f64);
}

fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_identifiers_with_a_unit() {
        for (given, unit, is_counter, expected) in [
            ("http.server.duration", Some(Unit::Seconds), false, "http_server_duration_seconds"),
            ("wait_seconds", Some(Unit::Seconds), false, "wait_seconds"),
            ("sent", Some(Unit::Bytes), true, "sent_bytes_total"),
            ("hits_total", None, true, "hits_total"),
            ("2nd.größe", None, false, "_2nd_gr__e"),
            ("rule:a", None, false, "rule:a"),
            ("", None, false, "_"),
        ] {
            assert_eq!(name(given, unit, is_counter), expected);
        }
    }

    #[test]
    fn infinity_has_a_sign() {
        assert_eq!(number(f64::INFINITY), "+Inf");
        assert_eq!(number(0.0001), "0.0001");
    }
}
