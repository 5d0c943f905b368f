use std::fmt::Write;
use std::time::Duration;

use http::HeaderValue;
use tower_edge_core::{Step, Trace};

/// Writes the steps of a trace, and the total, as the Server Timing
/// specification has them.
///
/// `None` if a name or a note could not stand in a field.
pub(crate) fn value(trace: &Trace, total: Duration) -> Option<HeaderValue> {
    let mut text = steps(trace);
    if !text.is_empty() {
        text.push_str(", ");
    }
    write(&mut text, &Step::new("total", total));
    HeaderValue::try_from(text).ok()
}

/// The steps alone, in the same form.
pub(crate) fn steps(trace: &Trace) -> String {
    let mut text = String::with_capacity(32 * (trace.steps().len() + 1));
    for step in trace.steps() {
        if !text.is_empty() {
            text.push_str(", ");
        }
        write(&mut text, step);
    }
    text
}

fn write(text: &mut String, step: &Step) {
    text.push_str(step.name);
    if !step.note.is_empty() {
        text.push_str(";desc=\"");
        text.push_str(step.note);
        text.push('"');
    }
    let millis = step.duration.as_micros() as f64 / 1_000.0;
    // Writing to a `String` cannot fail.
    let _ = write!(text, ";dur={millis}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_come_in_order_and_the_total_last() {
        let mut trace = Trace::default();
        trace.push(Step::new("cache", Duration::from_micros(20)).note("hit"));
        trace.push(Step::new("queue", Duration::ZERO));
        let value = value(&trace, Duration::from_nanos(12_600_999)).unwrap();
        assert_eq!(value, "cache;desc=\"hit\";dur=0.02, queue;dur=0, total;dur=12.6");
    }

    #[test]
    fn what_is_no_field_is_not_written() {
        let mut trace = Trace::default();
        trace.push(Step::new("a\r\nb", Duration::ZERO));
        assert_eq!(value(&trace, Duration::ZERO), None);
    }
}
