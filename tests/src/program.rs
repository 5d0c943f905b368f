use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::task::JoinHandle;

use crate::{Connection, shell, soon};

/// One of the examples as a process; killed when it is dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: JoinHandle<String>,
    address: SocketAddr,
    printed: Vec<String>,
}

impl Program {
    /// Starts the executable, and returns when it has printed what to try.
    pub async fn start(executable: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(executable);
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let stderr = tokio::spawn(heard(child.stderr.take().unwrap()));
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut printed: Vec<String> = Vec::new();
        while printed.last().is_none_or(|last| last != "Ctrl-C stops it.") {
            let line = soon(stdout.next_line()).await.unwrap();
            printed.push(line.expect("the program starts"));
        }
        let address = printed[0].split("http://").nth(1).unwrap();
        let address = address.split([',', ' ']).next().unwrap().trim_end_matches('.');
        let address = address.parse().unwrap();
        Self { child, stdout, stderr, address, printed }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL there.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The commands that it printed, each with what it said about it.
    pub fn tries(&self) -> Vec<(&str, &str)> {
        let between = self.printed.len() - 1;
        let lines = self.printed[1..between].iter().map(String::as_str);
        let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
        assert!(!lines.is_empty(), "there is something to try");
        let pairs = lines.chunks(2).map(|pair| {
            let [command, claim] = pair else { panic!("one claim for each command: {pair:?}") };
            assert!(command.starts_with("curl "), "{command}");
            (*command, claim.strip_prefix("  # ").expect("a claim"))
        });
        pairs.collect()
    }

    /// Opens a connection to it.
    pub async fn connect(&self) -> Connection {
        Connection::to(self.address).await
    }

    /// Sends `request` over a connection of its own, and reads until it closes.
    pub async fn exchange(&self, request: &str) -> String {
        let mut client = self.connect().await;
        client.send(request).await;
        client.rest().await
    }

    /// Sends it a signal, such as `TERM`.
    pub async fn signal(&self, name: &str) {
        let kill = shell(&format!("kill -{name} {}", self.pid())).await;
        assert!(kill.status.success(), "{kill:?}");
    }

    /// The next line that it prints.
    pub async fn line(&mut self) -> Option<String> {
        soon(self.stdout.next_line()).await.unwrap()
    }

    /// Waits for its end.
    pub async fn exit(&mut self) -> ExitStatus {
        soon(self.child.wait()).await.unwrap()
    }

    /// Stops it by SIGTERM, waits for its end, and returns what it complained of.
    pub async fn stop(mut self) -> String {
        self.signal("TERM").await;
        assert_eq!(self.exit().await.code(), Some(0));
        soon(self.stderr).await.unwrap()
    }

    /// The most memory that it has held so far, in MiB.
    pub fn peak_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim_end_matches("kB").trim().parse::<u64>().unwrap() / 1024
    }

    /// The processor time that it has used, in milliseconds.
    pub fn cpu_millis(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // After the name, which is in parentheses, user and system time are the
        // 12th and 13th field, in hundredths of a second.
        let fields = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace();
        let ticks = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap());
        ticks.sum::<u64>() * 10
    }

    fn pid(&self) -> u32 {
        self.child.id().expect("nobody has waited for its end")
    }
}

/// What a program says there, which is also shown when the test fails.
async fn heard(stderr: ChildStderr) -> String {
    let (mut lines, mut all) = (BufReader::new(stderr).lines(), String::new());
    while let Ok(Some(line)) = lines.next_line().await {
        eprintln!("{line}");
        all = all + &line + "\n";
    }
    all
}
