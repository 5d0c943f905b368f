use std::collections::BTreeMap;
use std::sync::Arc;

use metrics::{Key, SharedString, Unit};

use super::instruments::{Counter, Gauge, Histogram};
use super::labels::Labels;
use super::offer::{Counted, GaugeSource, HistogramSource};
use super::protobuf::Message;
use super::text;

/// All instruments, by name and labels.
#[derive(Debug, Default)]
pub(super) struct Families {
    /// Unit and help by the name that the facade knows.
    about: BTreeMap<String, (Option<Unit>, SharedString)>,
    /// By the name that the facade knows.
    instruments: BTreeMap<String, BTreeMap<Labels, Instrument>>,
}

impl Families {
    pub(super) fn describe(&mut self, name: &str, unit: Option<Unit>, help: SharedString) {
        self.about.insert(name.to_owned(), (unit, help));
    }

    /// What has this key, made if there is nothing; it may be of another kind.
    pub(super) fn find(
        &mut self,
        key: &Key,
        make: impl Fn(Option<Unit>) -> Instrument,
    ) -> &mut Instrument {
        let unit = self.about.get(key.name()).and_then(|(unit, _)| *unit);
        let family = self.instruments.entry(key.name().to_owned()).or_default();
        let made = make(unit);
        // A family is of one kind.
        let labels = match family.first_key_value() {
            Some((labels, first)) if first.kind() != made.kind() => labels.clone(),
            _ => Labels::of(key),
        };
        family.entry(labels).or_insert(made)
    }

    /// All of them in the text format.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for family in self.iter() {
            text::head(&mut text, &family.name, family.kind, family.help);
            for (labels, instrument) in family.instruments {
                instrument.write(&mut text, &family.name, labels);
            }
        }
        text
    }

    /// All of them as protobuf messages.
    pub(super) fn protobuf(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for family in self.iter() {
            let mut message = Message::family(&family.name, family.help, family.kind);
            for (labels, instrument) in family.instruments {
                instrument.add_to(&mut message, labels);
            }
            message.write_to(&mut bytes);
        }
        bytes
    }

    fn iter(&self) -> impl Iterator<Item = Family<'_>> {
        self.instruments.iter().filter_map(|(name, instruments)| {
            let about = self.about.get(name);
            let kind = instruments.values().next()?.kind();
            let unit = about.and_then(|(unit, _)| *unit);
            let name = text::name(name, unit, kind == "counter");
            Some(Family { name, kind, help: about.map(|(_, help)| &**help), instruments })
        })
    }
}

/// What is recorded by one name and labels: through handles, and by who offered to
/// be looked at.
#[derive(Debug)]
pub(super) enum Instrument {
    Counter(Arc<Counter>),
    Gauge { own: Arc<Gauge>, offered: Vec<Arc<dyn GaugeSource>> },
    Histogram { own: Arc<Histogram>, offered: Vec<Arc<dyn HistogramSource>> },
}

impl Instrument {
    fn kind(&self) -> &'static str {
        match self {
            Self::Counter(_) => "counter",
            Self::Gauge { .. } => "gauge",
            Self::Histogram { .. } => "histogram",
        }
    }

    fn write(&self, text: &mut String, name: &str, labels: &Labels) {
        let labels = labels.to_string();
        match self {
            Self::Counter(counter) => text::sample(text, name, &labels, counter.value() as f64),
            Self::Gauge { own, offered } => {
                text::sample(text, name, &labels, sum(own, offered));
            }
            Self::Histogram { own, offered } => {
                text::histogram(text, name, &labels, own.bounds(), &counted(own, offered));
            }
        }
    }

    fn add_to(&self, message: &mut Message, labels: &Labels) {
        match self {
            Self::Counter(counter) => message.add_counter(labels, counter.value() as f64),
            Self::Gauge { own, offered } => message.add_gauge(labels, sum(own, offered)),
            Self::Histogram { own, offered } => {
                message.add_histogram(labels, own.bounds(), &counted(own, offered));
            }
        }
    }
}

/// The instruments of one name, as a scrape has it.
struct Family<'a> {
    name: String,
    kind: &'static str,
    help: Option<&'a str>,
    instruments: &'a BTreeMap<Labels, Instrument>,
}

fn sum(own: &Gauge, offered: &[Arc<dyn GaugeSource>]) -> f64 {
    own.value() + offered.iter().map(|source| source.value()).sum::<f64>()
}

fn counted(own: &Histogram, offered: &[Arc<dyn HistogramSource>]) -> Counted {
    let mut all = own.read();
    offered.iter().for_each(|source| all.add(&source.read()));
    all
}
