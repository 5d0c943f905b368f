use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::Error;

/// The cargo that runs us, at the root of the workspace.
pub(crate) fn cargo<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(args).current_dir(root()).env("PATH", path());
    command
}

/// Prints a command, runs it and waits for its end.
pub(crate) fn run(command: &mut Command) -> Result<(), Error> {
    eprintln!("$ {}", shown(command));
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(status, command)),
        Err(error) => Err(failed(error, command)),
    }
}

/// What a command prints, where it succeeds.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>, Error> {
    match command.stderr(Stdio::inherit()).output() {
        Ok(output) if output.status.success() => Ok(output.stdout),
        Ok(output) => Err(failed(output.status, command)),
        Err(error) => Err(failed(error, command)),
    }
}

/// Whether a command can be run and succeeds; what it prints is not shown.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Whether there is a program of this name.
pub(crate) fn exists(program: &str) -> bool {
    env::split_paths(&path()).any(|folder| folder.join(program).is_file())
}

fn failed(why: impl fmt::Display, command: &Command) -> Error {
    Error::new(format!("{why}: {}", shown(command)))
}

/// The root of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where programs are looked for. Servers live in `sbin`, which is not in the
/// path of an ordinary user on Debian.
fn path() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin");
    path
}

/// A command as one would type it, without the path that all of them get.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let set = command.get_envs().filter(|(name, _)| *name != "PATH");
    let set =
        set.filter_map(|(name, value)| Some(format!("{}={}", name.display(), quoted(value?))));
    let words = [program].into_iter().chain(command.get_args()).map(quoted);
    set.chain(words).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,:+@^".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.into_owned(),
        false => format!("'{word}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let mut command = Command::new("/opt/rust/bin/cargo");
        command.args(["doc", "--no-deps", "--bench", "*"]);
        command.env("PATH", "/bin").env("RUSTDOCFLAGS", "-D warnings").env_remove("RUSTFLAGS");
        assert_eq!(shown(&command), "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --bench '*'");
    }

    #[test]
    fn a_failure_names_the_command() {
        let error = run(Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "exit status: 3: sh -c 'exit 3'");
        let error = output(&mut Command::new("/nowhere/tool")).unwrap_err().to_string();
        assert!(error.ends_with(": tool"), "{error}");
    }

    #[test]
    fn the_root_holds_the_lock_file() {
        assert!(root().join("Cargo.lock").is_file());
    }
}
