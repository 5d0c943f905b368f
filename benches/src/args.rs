use std::error::Error;
use std::fmt;

/// What a bench is asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Whatever criterion makes of the arguments.
    Timings,
    /// Allocations and bytes of the cases whose id contains `part`.
    Counts { part: String },
    /// So many requests of one case.
    Only { id: String, times: u64 },
}

impl Mode {
    /// Reads the arguments after the program's name.
    pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, UsageError> {
        // Cargo itself adds `--bench`.
        let args: Vec<_> = args.into_iter().filter(|arg| arg != "--bench").collect();
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        match *args.as_slice() {
            ["--counts"] => Ok(Self::Counts { part: String::new() }),
            ["--counts", part] => Ok(Self::Counts { part: part.into() }),
            ["--only", id, times] => match times.parse() {
                Ok(times) => Ok(Self::Only { id: id.into(), times }),
                Err(_) => Err(UsageError(format!("`{times}` is not a number of requests"))),
            },
            [flag @ ("--counts" | "--only"), ..] => Err(UsageError(format!("{flag}: {USAGE}"))),
            _ => Ok(Self::Timings),
        }
    }
}

/// Whether this run is to show only that each case works (`--test`): a set-up may
/// then be smaller than the scenario says.
pub fn is_trial() -> bool {
    std::env::args().any(|arg| arg == "--test")
}

/// Arguments that ask for nothing a bench can do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UsageError(String);

impl UsageError {
    /// There is no case `id`; the most similar of those that are is named.
    pub(crate) fn unknown<'a>(id: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let distance = |known: &&str| strsim::damerau_levenshtein(id, known);
        Self(match known.min_by_key(distance) {
            Some(nearest) => format!("no case `{id}`; the nearest is `{nearest}`"),
            None => format!("no case `{id}`, nor any other"),
        })
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for UsageError {}

const USAGE: &str = "expected `--counts [PART OF ID]` or `--only ID N`";

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &str) -> Result<Mode, UsageError> {
        Mode::parse(args.split_whitespace().map(String::from))
    }

    #[test]
    fn own_flags_are_read_and_others_left_to_criterion() {
        for (args, mode) in [
            ("", Mode::Timings),
            ("--bench", Mode::Timings),
            ("--test --bench", Mode::Timings),
            ("latency --sample-size 10", Mode::Timings),
            ("--counts --bench", Mode::Counts { part: String::new() }),
            ("--counts hit", Mode::Counts { part: "hit".into() }),
            ("--only a/b/c 100 --bench", Mode::Only { id: "a/b/c".into(), times: 100 }),
        ] {
            assert_eq!(parsed(args), Ok(mode), "{args}");
        }
    }

    #[test]
    fn own_flags_with_wrong_values_are_errors() {
        for (args, error) in [
            ("--only", "--only: expected"),
            ("--only a/b/c", "--only: expected"),
            ("--only a/b/c many", "`many` is not a number"),
            ("--only a/b/c -1", "`-1` is not a number"),
            ("--counts a b", "--counts: expected"),
        ] {
            let shown = parsed(args).unwrap_err().to_string();
            assert!(shown.starts_with(error), "{args}: {shown}");
        }
    }

    #[test]
    fn an_unknown_id_is_answered_with_the_nearest() {
        let known = ["overhead/latency/bare", "overhead/latency/tower-edge"];
        let error = UsageError::unknown("overhead/latency/tower-egde", known.into_iter());
        assert_eq!(
            error.to_string(),
            "no case `overhead/latency/tower-egde`; the nearest is `overhead/latency/tower-edge`",
        );
    }
}
