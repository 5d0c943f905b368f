use std::process::{Command, Stdio};

use crate::command::{exists, output, run};
use crate::error::Error;

/// Installs the programs that tests start and this machine lacks.
///
/// Nothing is left running: tests start their own servers, on free ports.
pub(crate) fn install_missing() -> Result<(), Error> {
    let lacking = missing(&PROGRAMS, is_there);
    if lacking.is_empty() {
        return Ok(());
    }
    for Program { name, package, why } in &lacking {
        eprintln!("`{name}` is missing, which tests start {why}: the Debian package is {package}");
    }
    let packages: Vec<_> = lacking.iter().map(|program| program.package).collect();
    let by_hand = |why: String| {
        let packages = packages.join(" ");
        Error::new(format!("{why}\nRun as root, then try again: apt-get install {packages}"))
    };
    if !exists("apt-get") {
        return Err(by_hand("there is no apt-get here to install what is missing".into()));
    }
    let root = output(Command::new("id").arg("-u"))?.trim_ascii() == b"0";
    if !root && !exists("sudo") {
        return Err(by_hand("only root can install what is missing, and sudo is not here".into()));
    }
    for mut command in installation(&packages, root) {
        run(&mut command).map_err(|error| by_hand(error.to_string()))?;
    }
    match missing(&lacking, is_there).as_slice() {
        [] => Ok(()),
        [Program { name, .. }, ..] => Err(by_hand(format!("`{name}` is still missing"))),
    }
}

/// A program that tests start.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Program {
    /// Its own, or `import NAME` of a module for the Python of the system.
    name: &'static str,
    package: &'static str,
    why: &'static str,
}

fn missing(programs: &[Program], exists: impl Fn(&str) -> bool) -> Vec<Program> {
    programs.iter().copied().filter(|program| !exists(program.name)).collect()
}

fn is_there(name: &str) -> bool {
    if !name.starts_with("import ") {
        return exists(name);
    }
    let mut import = Command::new(PYTHON);
    import.args(["-c", name]).stdin(Stdio::null()).stderr(Stdio::null());
    import.status().is_ok_and(|status| status.success())
}

/// A fresh machine may have no lists of packages yet, hence two commands.
fn installation(packages: &[&str], root: bool) -> [Command; 2] {
    let apt_get = |args: &[&str]| {
        let mut command = Command::new(if root { "env" } else { "sudo" });
        command.args((!root).then_some("env")).args(APT_ENV).arg("apt-get").args(args);
        command
    };
    let mut install = apt_get(&["install", "--yes", "--quiet", "--no-install-recommends"]);
    install.args(packages);
    [apt_get(&["update", "--quiet"]), install]
}

const PROGRAMS: [Program; 10] = [
    Program { name: "nginx", package: "nginx", why: "as an origin and a front that are not ours" },
    Program { name: "curl", package: "curl", why: "as a client that is not ours" },
    Program { name: "h2load", package: "nghttp2-client", why: "to put load on a server" },
    Program { name: "python3", package: "python3", why: "as an origin of HTTP/1.0" },
    Program { name: "import brotli", package: "python3-brotli", why: "to decode what we encode" },
    Program {
        name: "import zstandard",
        package: "python3-zstandard",
        why: "to decode what we encode",
    },
    Program { name: "promtool", package: "prometheus", why: "to check what Prometheus scrapes" },
    Program { name: "prometheus", package: "prometheus", why: "to scrape native histograms" },
    Program { name: "redis-server", package: "redis-server", why: "as a store that nodes share" },
    Program { name: "openssl", package: "openssl", why: "to make certificates" },
];

/// Packages have modules for this one, whatever comes first in the path.
const PYTHON: &str = "/usr/bin/python3";

/// Keeps packages from asking questions and from starting their services: the
/// run level is for init scripts, the other for systemd.
const APT_ENV: [&str; 3] = ["DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "SYSTEMD_OFFLINE=1"];

#[cfg(test)]
mod tests {
    use super::*;

    fn line(command: &Command) -> String {
        let words = [command.get_program()].into_iter().chain(command.get_args());
        words.map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_what_is_missing_is_installed() {
        let names = |exists: &dyn Fn(&str) -> bool| -> Vec<_> {
            missing(&PROGRAMS, exists).iter().map(|program| program.name).collect()
        };
        assert!(names(&|_| true).is_empty());
        let installed = names(&|name| name == "nginx");
        let others = ["curl", "h2load", "python3", "import brotli", "import zstandard"];
        let more = ["promtool", "prometheus", "redis-server", "openssl"];
        assert_eq!(installed, [&others[..], &more].concat());
        assert!(is_there("import zlib") && !is_there("import no_such_module"));
    }

    #[test]
    fn packages_are_installed_without_questions_and_services() {
        let env = "env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 SYSTEMD_OFFLINE=1";
        let options = "--yes --quiet --no-install-recommends";
        for (root, prefix) in [(true, ""), (false, "sudo ")] {
            let [update, install] = installation(&["a", "b"], root);
            assert_eq!(line(&update), format!("{prefix}{env} apt-get update --quiet"));
            assert_eq!(line(&install), format!("{prefix}{env} apt-get install {options} a b"));
        }
    }
}
