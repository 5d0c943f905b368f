use std::time::{Duration, Instant};

use crate::command::{self, cargo, succeeds};
use crate::error::Error;
use crate::{features, test};

/// Runs all that a change has to pass, and says how long each part took.
pub(crate) fn run() -> Result<(), Error> {
    components(|name| succeeds(&mut cargo([name, "--version"])))?;
    let times = in_order(&STEPS)?;
    eprintln!();
    for (name, time) in times {
        eprintln!("{name:<9}{:>7.1} s", time.as_secs_f64());
    }
    Ok(())
}

struct Step {
    name: &'static str,
    run: fn() -> Result<(), Error>,
}

/// Runs steps up to the first that fails; the error names it.
#[expect(clippy::disallowed_methods, reason = "people are told real time, nothing depends on it")]
fn in_order(steps: &[Step]) -> Result<Vec<(&'static str, Duration)>, Error> {
    let timed = steps.iter().map(|Step { name, run }| {
        eprintln!("\n==> {name}");
        let start = Instant::now();
        run().map_err(|error| Error::new(format!("step `{name}` failed: {error}")))?;
        let time = start.elapsed();
        eprintln!("<== {name}: {:.1} s", time.as_secs_f64());
        Ok((*name, time))
    });
    timed.collect()
}

/// rustup can leave these out: better said before the first step than at theirs.
fn components(works: impl Fn(&str) -> bool) -> Result<(), Error> {
    match COMPONENTS.iter().find(|(command, _)| !works(command)) {
        None => Ok(()),
        Some((command, component)) => Err(Error::new(format!(
            "`cargo {command}` does not work here; run: rustup component add {component}"
        ))),
    }
}

fn fmt() -> Result<(), Error> {
    command::run(&mut cargo(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<(), Error> {
    let args = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    command::run(&mut cargo(args))
}

fn doc() -> Result<(), Error> {
    let mut doc = cargo(["doc", "--workspace", "--no-deps", "--all-features"]);
    command::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

fn deny() -> Result<(), Error> {
    if !succeeds(&mut cargo(["deny", "--version"])) {
        eprintln!("`cargo deny` is missing: installing it, to check licences and dependencies");
        // It runs for a second or two: neither speed nor symbols are worth a longer build.
        let args = ["install", "cargo-deny", "--version=^0.20", "--locked", "--debug"];
        command::run(cargo(args).env("CARGO_PROFILE_DEV_DEBUG", "false"))?;
    }
    command::run(&mut cargo(["deny", "check", "bans", "licenses", "sources"]))
}

fn tests() -> Result<(), Error> {
    test::run(false, &[])
}

/// Feeds each parser for half a minute: the unit tests below a module `fuzz`.
fn fuzz() -> Result<(), Error> {
    test::run(true, &["--lib", "fuzz::"].map(String::from))
}

/// Runs each benchmark once. The dev profile shares what the tests have built;
/// the pattern leaves out the unit tests, which `cargo bench` would run again.
fn benches() -> Result<(), Error> {
    let packages = ["bench", "--profile=dev", "--workspace", "--all-features"];
    command::run(cargo(packages).args(["--bench", "*", "--", "--test"]))
}

const STEPS: [Step; 8] = [
    Step { name: "fmt", run: fmt },
    Step { name: "clippy", run: clippy },
    Step { name: "features", run: features::lint_each },
    Step { name: "doc", run: doc },
    Step { name: "deny", run: deny },
    Step { name: "test", run: tests },
    Step { name: "fuzz", run: fuzz },
    Step { name: "benches", run: benches },
];

const COMPONENTS: [(&str, &str); 2] = [("fmt", "rustfmt"), ("clippy", "clippy")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_stop_at_the_first_failure_and_it_is_named() {
        let good = Step { name: "good", run: || Ok(()) };
        let bad = Step { name: "bad", run: || Err(Error::new("broken")) };
        let never = Step { name: "never", run: || panic!("a step ran after a failure") };
        let error = in_order(&[good, bad, never]).unwrap_err();
        assert_eq!(error.to_string(), "step `bad` failed: broken");
    }

    #[test]
    fn all_steps_are_timed_in_their_order() {
        let [one, two] = ["one", "two"].map(|name| Step { name, run: || Ok(()) });
        let names: Vec<_> = in_order(&[one, two]).unwrap().iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["one", "two"]);
    }

    #[test]
    fn a_missing_component_is_named() {
        assert!(components(|_| true).is_ok());
        let error = components(|command| command != "fmt").unwrap_err().to_string();
        assert!(error.ends_with("run: rustup component add rustfmt"), "{error}");
    }
}
