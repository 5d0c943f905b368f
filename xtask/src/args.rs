use crate::error::Error;

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Task {
    Test {
        long: bool,
        /// What follows `--`, for `cargo test`.
        rest: Vec<String>,
    },
    Ci,
    Help,
}

pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Task, Error> {
    let mut args = args.into_iter();
    let task = match args.next().as_deref() {
        Some("test") => return test(args),
        Some("ci") => Task::Ci,
        Some("help" | "--help" | "-h") | None => Task::Help,
        Some(other) => return Err(unknown(other)),
    };
    match args.next() {
        None => Ok(task),
        Some(other) => Err(unknown(&other)),
    }
}

fn test(mut args: impl Iterator<Item = String>) -> Result<Task, Error> {
    let mut long = false;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--long" => long = true,
            "--" => return Ok(Task::Test { long, rest: args.collect() }),
            other => return Err(unknown(other)),
        }
    }
    Ok(Task::Test { long, rest: Vec::new() })
}

fn unknown(arg: &str) -> Error {
    Error::new(format!("`{arg}` is not known here\n\n{USAGE}"))
}

pub(crate) const USAGE: &str = "\
Usage: cargo xtask COMMAND

  test [--long] [-- ARGS]  installs the programs that tests start, then runs all tests
                           --long  heavy tests in full instead of bounded
                           ARGS    for `cargo test`, such as -p tower-edge-core
  ci                       checks all that a change has to pass
  help                     prints this
";

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Task, String> {
        let args = line.split_whitespace().map(str::to_owned);
        parse(args).map_err(|error| error.to_string())
    }

    #[test]
    fn a_command_line_is_a_task() {
        let test = |long, rest: &[&str]| {
            let rest = rest.iter().map(|&arg| arg.to_owned()).collect();
            Ok(Task::Test { long, rest })
        };
        for (line, task) in [
            ("test", test(false, &[])),
            ("test --long", test(true, &[])),
            ("test -- --long", test(false, &["--long"])),
            ("test --long -- -p a -- --nocapture", test(true, &["-p", "a", "--", "--nocapture"])),
            ("ci", Ok(Task::Ci)),
            ("help", Ok(Task::Help)),
            ("", Ok(Task::Help)),
        ] {
            assert_eq!(parsed(line), task, "{line}");
        }
    }

    #[test]
    fn what_is_not_known_is_named() {
        for (line, named) in [("tset", "`tset`"), ("test -p a", "`-p`"), ("ci --fast", "`--fast`")]
        {
            let error = parsed(line).unwrap_err();
            assert!(error.starts_with(&format!("{named} is not known here\n")), "{error}");
        }
    }
}
