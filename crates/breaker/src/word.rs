/// What a circuit does with requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// It admits them and counts how they end.
    #[default]
    Closed,
    /// It refuses them until the next probe is due.
    Open,
    /// It admits a few of them as probes, and refuses the others.
    HalfOpen,
    /// It has closed a short time ago, and admits more of them from moment to
    /// moment.
    Ramping,
}

impl State {
    /// The word for logs and metrics, such as `half_open`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::Ramping => "ramping",
        }
    }
}

/// Who decides about a circuit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// The circuit itself.
    #[default]
    Automatic,
    /// The circuit itself, but it refuses nobody: to see what it would do.
    Shadow,
    /// It refuses everybody.
    ForcedOpen,
    /// It admits everybody, and counts.
    ForcedClosed,
    /// It admits everybody, and counts nothing.
    Disabled,
}

impl Mode {
    /// Whether the circuit moves by itself.
    pub(crate) const fn is_live(self) -> bool {
        matches!(self, Self::Automatic | Self::Shadow)
    }
}

/// All that decides about a request, in one number, so that every transition is
/// one compare-and-swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// Changes with every transition: what was admitted before it counts no more.
    pub(crate) generation: u32,
    /// Probes in flight.
    pub(crate) probes: u8,
    /// Probes that went well.
    pub(crate) passed: u8,
    pub(crate) state: State,
    pub(crate) mode: Mode,
    /// Health checks are the probes, and no requests.
    pub(crate) checked: bool,
}

impl Word {
    /// A circuit of which nothing is known.
    pub(crate) const fn new(mode: Mode) -> Self {
        let state = if matches!(mode, Mode::ForcedOpen) { State::Open } else { State::Closed };
        Self { generation: 1, probes: 0, passed: 0, state, mode, checked: false }
    }

    /// The next generation, in another state.
    pub(crate) const fn turned(self, state: State) -> Self {
        let generation = self.generation.wrapping_add(1);
        Self { generation, probes: 0, passed: 0, state, mode: self.mode, checked: false }
    }

    /// Whether it is half-open, in this generation.
    pub(crate) fn is_probing(self, generation: u32) -> bool {
        self.state == State::HalfOpen && self.generation == generation
    }

    /// Whether there is room for one more probe of a request.
    pub(crate) fn has_place(self, probes: u8) -> bool {
        !self.checked && u16::from(self.probes) + u16::from(self.passed) < u16::from(probes)
    }

    /// Without anything of what was before.
    pub(crate) fn anew(self, mode: Mode) -> Self {
        Self { generation: self.generation.wrapping_add(1), ..Self::new(mode) }
    }

    pub(crate) const fn pack(self) -> u64 {
        (self.generation as u64)
            | (self.probes as u64) << PROBES
            | (self.passed as u64) << PASSED
            | (self.state as u64) << STATE
            | (self.mode as u64) << MODE
            | (self.checked as u64) << CHECKED
    }

    pub(crate) const fn unpack(word: u64) -> Self {
        let state = match (word >> STATE) & 3 {
            0 => State::Closed,
            1 => State::Open,
            2 => State::HalfOpen,
            _ => State::Ramping,
        };
        let mode = match (word >> MODE) & 7 {
            0 => Mode::Automatic,
            1 => Mode::Shadow,
            2 => Mode::ForcedOpen,
            3 => Mode::ForcedClosed,
            _ => Mode::Disabled,
        };
        Self {
            generation: word as u32,
            probes: (word >> PROBES) as u8,
            passed: (word >> PASSED) as u8,
            state,
            mode,
            checked: (word >> CHECKED) & 1 == 1,
        }
    }

    /// The generation of a word that admits and counts everybody: closed, and not
    /// disabled. Made for the path of every request.
    pub(crate) const fn counting(word: u64) -> Option<u32> {
        match word >> STATE {
            PLAIN | SHADOWED | FORCED => Some(word as u32),
            _ => None,
        }
    }
}

/// Whether `one` comes after `other`, for numbers that start again from zero.
pub(crate) const fn is_after(one: u16, other: u16) -> bool {
    one != other && one.wrapping_sub(other) < 1 << 15
}

const PROBES: u32 = 32;
const PASSED: u32 = 40;
const STATE: u32 = 48;
const MODE: u32 = 50;
const CHECKED: u32 = 53;

const PLAIN: u64 = (Mode::Automatic as u64) << (MODE - STATE);
const SHADOWED: u64 = (Mode::Shadow as u64) << (MODE - STATE);
const FORCED: u64 = (Mode::ForcedClosed as u64) << (MODE - STATE);

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const STATES: [State; 4] = [State::Closed, State::Open, State::HalfOpen, State::Ramping];
    const MODES: [Mode; 5] =
        [Mode::Automatic, Mode::Shadow, Mode::ForcedOpen, Mode::ForcedClosed, Mode::Disabled];

    /// All words but for their generation, of which there is one in each bit.
    fn words() -> impl Iterator<Item = Word> {
        let generations = (0..32).map(|bit| 1 << bit).chain([0, u32::MAX]);
        let kinds = STATES.iter().flat_map(|&state| MODES.iter().map(move |&mode| (state, mode)));
        let kinds = kinds.flat_map(|kind| [false, true].map(|checked| (kind, checked)));
        kinds.flat_map(move |((state, mode), checked)| {
            generations.clone().flat_map(move |generation| {
                (0..=255).flat_map(move |probes| {
                    [0, 1, 2, 128, 254, 255, probes].map(|passed| Word {
                        generation,
                        probes,
                        passed,
                        state,
                        mode,
                        checked,
                    })
                })
            })
        })
    }

    #[test]
    fn a_word_is_what_was_packed() {
        let mut number = 0;
        for word in words() {
            assert_eq!(Word::unpack(word.pack()), word);
            let counts = word.state == State::Closed
                && !matches!(word.mode, Mode::ForcedOpen | Mode::Disabled)
                && !word.checked;
            assert_eq!(Word::counting(word.pack()), counts.then_some(word.generation), "{word:?}");
            number += 1;
        }
        assert_eq!(number, 4 * 5 * 2 * 34 * 256 * 7);
    }

    #[test]
    fn two_words_are_never_one_number() {
        let kinds: Vec<_> = words().filter(|word| word.generation == 1).map(Word::pack).collect();
        let packed: HashSet<_> = kinds.iter().collect();
        // `passed` is `probes` once more for six of its values.
        assert_eq!(packed.len(), kinds.len() - 4 * 5 * 2 * 6);
    }

    #[test]
    fn a_number_comes_after_the_half_of_all_before_it() {
        for other in (0..=u16::MAX).step_by(251) {
            for ahead in 0..=u16::MAX {
                let after = is_after(other.wrapping_add(ahead), other);
                assert_eq!(after, (1..1 << 15).contains(&ahead));
            }
        }
    }
}
