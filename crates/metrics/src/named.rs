use std::sync::OnceLock;

/// Values by name, for so many names; the other names share one.
///
/// A place is taken once and never left: finding a value takes no lock.
#[derive(Debug)]
pub(crate) struct Named<T> {
    places: Box<[OnceLock<(&'static str, T)>]>,
    others: T,
}

impl<T: Default> Default for Named<T> {
    fn default() -> Self {
        Self { places: (0..NAMES).map(|_| OnceLock::new()).collect(), others: T::default() }
    }
}

impl<T: Default> Named<T> {
    /// The value of a name, and the name under which it is known.
    pub(crate) fn get(&self, name: &'static str) -> (&'static str, &T) {
        for place in &self.places {
            let (taken, value) = place.get_or_init(|| (name, T::default()));
            if *taken == name {
                return (name, value);
            }
        }
        (OTHERS, &self.others)
    }

    /// All values with their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &T)> {
        let taken = self.places.iter().filter_map(OnceLock::get);
        taken.map(|(name, value)| (*name, value)).chain([(OTHERS, &self.others)])
    }
}

const NAMES: usize = 64;
const OTHERS: &str = "_OTHER";

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    #[test]
    fn names_past_the_limit_share_a_value() {
        let named: Named<AtomicU64> = Named::default();
        for _ in 0..2 {
            for i in 0..NAMES + 10 {
                let name: &'static str = i.to_string().leak();
                let (known, value) = named.get(name);
                value.fetch_add(1, Relaxed);
                assert_eq!(known, if i < NAMES { name } else { OTHERS });
            }
        }
        let counts: Vec<_> = named.iter().map(|(_, value)| value.load(Relaxed)).collect();
        assert_eq!((counts.len(), counts[0], counts[NAMES]), (NAMES + 1, 2, 20));
    }
}
