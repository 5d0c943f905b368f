//! The protobuf format of Prometheus: messages `io.prometheus.client.MetricFamily`,
//! each behind its length. Unlike the text it has native histograms.

use super::labels::Labels;
use super::offer::Counted;
use crate::ExponentialHistogram;

/// A message, as far as it is written.
#[derive(Debug, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    pub(super) fn family(name: &str, help: Option<&str>, kind: &str) -> Self {
        let kind = match kind {
            "counter" => 0,
            "gauge" => 1,
            _ => 4,
        };
        let mut family = Self::default();
        family.bytes(1, name.as_bytes());
        if let Some(help) = help {
            family.bytes(2, help.as_bytes());
        }
        family.varint(3, kind);
        family
    }

    pub(super) fn add_gauge(&mut self, labels: &Labels, value: f64) {
        self.metric(labels, 2, |gauge| gauge.double(1, value));
    }

    pub(super) fn add_counter(&mut self, labels: &Labels, value: f64) {
        self.metric(labels, 3, |counter| counter.double(1, value));
    }

    pub(super) fn add_histogram(&mut self, labels: &Labels, bounds: &[f64], counted: &Counted) {
        self.metric(labels, 7, |histogram| {
            histogram.varint(1, counted.count());
            histogram.double(2, counted.sum);
            for (bound, count) in bounds.iter().zip(&counted.cumulative) {
                histogram.message(3, |bucket| {
                    bucket.varint(1, *count);
                    bucket.double(2, *bound);
                });
            }
            if let Some(exponential) = counted.exponential.as_ref().filter(|all| all.count() > 0) {
                histogram.native(&exponential.exponential());
            }
        });
    }

    /// The message behind its length.
    pub(super) fn write_to(&self, bytes: &mut Vec<u8>) {
        write_varint(bytes, self.0.len() as u64);
        bytes.extend_from_slice(&self.0);
    }

    fn native(&mut self, all: &ExponentialHistogram) {
        self.varint(5, zigzag(i64::from(all.scale)));
        self.double(6, all.zero_threshold);
        self.varint(7, all.zero_count);
        for (offset, length) in all.spans() {
            self.message(12, |span| {
                span.varint(1, zigzag(i64::from(offset)));
                span.varint(2, u64::from(length));
            });
        }
        all.deltas().into_iter().for_each(|delta| self.varint(13, zigzag(delta)));
    }

    fn metric(&mut self, labels: &Labels, kind: u32, value: impl FnOnce(&mut Self)) {
        self.message(4, |metric| {
            for (name, value) in labels.iter() {
                metric.message(1, |label| {
                    label.bytes(1, name.as_bytes());
                    label.bytes(2, value.as_bytes());
                });
            }
            metric.message(kind, value);
        });
    }

    fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        let mut message = Self::default();
        write(&mut message);
        self.bytes(field, &message.0);
    }

    fn varint(&mut self, field: u32, value: u64) {
        write_varint(&mut self.0, u64::from(field << 3));
        write_varint(&mut self.0, value);
    }

    fn double(&mut self, field: u32, value: f64) {
        write_varint(&mut self.0, u64::from(field << 3 | 1));
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        write_varint(&mut self.0, u64::from(field << 3 | 2));
        write_varint(&mut self.0, bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }
}

fn write_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Small numbers of either sign as small ones.
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_encoding_has_them() {
        for (value, expected) in
            [(0, &[0][..]), (127, &[127]), (300, &[0xac, 2]), (u64::MAX, &[0xff; 10])]
        {
            let mut bytes = Vec::new();
            write_varint(&mut bytes, value);
            let last = expected.len() - 1;
            assert_eq!(bytes[..last], expected[..last], "{value}");
            assert_eq!(bytes.len(), expected.len(), "{value}");
        }
        assert_eq!([0, -1, 1, -2, i64::MIN].map(zigzag), [0, 1, 2, 3, u64::MAX]);
    }

    #[test]
    fn a_family_stands_behind_its_length() {
        let mut family = Message::family("up", None, "gauge");
        family.add_gauge(&Labels::new([("a", "b")]), 1.0);
        let mut bytes = Vec::new();
        family.write_to(&mut bytes);
        let expected = b"\x1b\x0a\x02up\x18\x01\x22\x13\
            \x0a\x06\x0a\x01a\x12\x01b\
            \x12\x09\x09\0\0\0\0\0\0\xf0\x3f";
        assert_eq!(bytes, expected);
    }
}
