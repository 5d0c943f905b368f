//! Redis servers of a test, alone or as a Cluster, on free ports.

use std::net::{SocketAddr, TcpListener};
use std::process::{Output, Stdio};
use std::sync::Arc;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A Redis without persistence; killed when it is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
    arguments: Vec<String>,
    folder: Arc<TempDir>,
}

/// Three masters that share all slots.
#[derive(Debug)]
pub struct Cluster {
    /// The masters, at the start.
    pub nodes: Vec<Server>,
    /// One for each of them, or none.
    pub replicas: Vec<Server>,
}

impl Server {
    /// Starts one.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Starts one with more arguments.
    ///
    /// # Panics
    ///
    /// If there is no `redis-server`, or if it does not start.
    pub async fn with(arguments: &[&str]) -> Self {
        let folder = Arc::new(TempDir::new().expect("there is room for a folder"));
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        // Somebody may take the port before Redis does.
        for _ in 0..10 {
            let port = free_port();
            if let Some(child) = run(port, &arguments, &folder).await {
                return Self { child, port, arguments, folder };
            }
        }
        panic!("redis-server does not start: {arguments:?}")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// What `redis-cli` prints for a command.
    ///
    /// # Panics
    ///
    /// If there is no `redis-cli`.
    pub async fn cli(&self, command: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        cli.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "--raw"]).args(command);
        let Output { stdout, .. } = cli.output().await.expect("there is a redis-cli");
        String::from_utf8_lossy(&stdout).trim_end().to_owned()
    }

    /// Sends it a signal, such as `STOP`.
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().await;
        assert!(sent.is_ok_and(|status| status.success()), "{name}");
    }

    /// Kills it.
    ///
    /// # Panics
    ///
    /// If that is not possible.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    /// Starts it again in the same place, with nothing in it.
    ///
    /// # Panics
    ///
    /// If the port is taken.
    pub async fn restart(&mut self) {
        let child = run(self.port, &self.arguments, &self.folder).await;
        self.child = child.expect("it starts where it was");
    }
}

impl Cluster {
    /// Starts one, and waits until all nodes know of it.
    pub async fn start() -> Self {
        let mut nodes = Vec::new();
        for _ in 0..MASTERS {
            nodes.push(node().await);
        }
        for (at, (node, _)) in nodes.iter().enumerate() {
            let [from, to] = [at, at + 1].map(|at| (SLOTS * at / MASTERS).to_string());
            let to = (to.parse::<usize>().unwrap_or(SLOTS) - 1).to_string();
            node.cli(&["CLUSTER", "ADDSLOTSRANGE", &from, &to]).await;
            node.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]).await;
        }
        let (first, _) = &nodes[0];
        for (node, bus) in &nodes[1..] {
            first.cli(&["CLUSTER", "MEET", "127.0.0.1", &node.port.to_string(), bus]).await;
        }
        for (node, _) in &nodes {
            let knows_all = |info: &str| {
                let all = ["cluster_slots_ok:16384", "cluster_known_nodes:3", "cluster_state:ok"];
                all.iter().all(|line| info.contains(line))
            };
            while !knows_all(&node.cli(&["CLUSTER", "INFO"]).await) {}
        }
        Self { nodes: nodes.into_iter().map(|(node, _)| node).collect(), replicas: Vec::new() }
    }

    /// Starts one in which each master has a replica, which takes its place when it
    /// dies; waits until they have all that there is.
    pub async fn with_replicas() -> Self {
        let mut cluster = Self::start().await;
        for master in &cluster.nodes {
            let (replica, bus) = node().await;
            master.cli(&["CLUSTER", "MEET", "127.0.0.1", &replica.port.to_string(), &bus]).await;
            let id = master.cli(&["CLUSTER", "MYID"]).await;
            // It is to hear of the master first.
            while replica.cli(&["CLUSTER", "REPLICATE", &id]).await != "OK" {}
            while !master.cli(&["INFO", "replication"]).await.contains("state=online") {}
            cluster.replicas.push(replica);
        }
        let nodes = format!("cluster_known_nodes:{}", 2 * MASTERS);
        for node in cluster.nodes.iter().chain(&cluster.replicas) {
            let knows_all = |info: &str| info.contains(&nodes) && info.contains("cluster_state:ok");
            while !knows_all(&node.cli(&["CLUSTER", "INFO"]).await) {}
        }
        cluster
    }

    /// Which of the masters has the slot of a key.
    ///
    /// # Panics
    ///
    /// If none has.
    pub async fn master_of(&self, key: &str) -> usize {
        let slot = self.nodes[0].cli(&["CLUSTER", "KEYSLOT", key]).await;
        let slot: usize = slot.parse().expect("it is a number");
        let from = |at: usize| SLOTS * at / MASTERS;
        (0..MASTERS).rfind(|&at| from(at) <= slot).expect("each slot has a master")
    }

    /// Waits until the replica of a master has all that was written there before.
    ///
    /// `WAIT` would not do: it waits for what its own connection has written.
    ///
    /// # Panics
    ///
    /// If there are no replicas.
    pub async fn replicated(&self, master: usize) {
        let written = offset(&self.nodes[master], "master_repl_offset:").await;
        while offset(&self.replicas[master], "slave_repl_offset:").await < written {}
    }

    /// Kills a master once its replica has all that it has, and waits until that has
    /// taken its place.
    ///
    /// # Panics
    ///
    /// If there are no replicas.
    pub async fn fail_over(&mut self, master: usize) {
        self.replicated(master).await;
        self.nodes[master].kill().await;
        while !self.has_failed_over(master).await {}
    }

    /// Whether the replica of a master is one itself.
    ///
    /// # Panics
    ///
    /// If there are no replicas.
    pub async fn has_failed_over(&self, master: usize) -> bool {
        let replica = &self.replicas[master];
        let is_master = replica.cli(&["ROLE"]).await.starts_with("master");
        is_master && replica.cli(&["CLUSTER", "INFO"]).await.contains("cluster_state:ok")
    }

    /// Two of the nodes as a URL; the third is found by them.
    pub fn url(&self) -> String {
        format!("redis+cluster://{},{}", self.nodes[0].address(), self.nodes[1].address())
    }
}

/// How far a node has come with what is written to its master, or to it.
async fn offset(node: &Server, name: &str) -> u64 {
    let info = node.cli(&["INFO", "replication"]).await;
    let told = info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.parse().ok());
    told.expect("a node tells its offset")
}

/// Starts a node of a Cluster; with the port of its bus.
async fn node() -> (Server, String) {
    let bus = free_port().to_string();
    let arguments = ["--cluster-enabled", "yes", "--cluster-port", &bus];
    let soon = ["--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0"];
    let more = ["--cluster-require-full-coverage", "no"];
    (Server::with(&[&arguments[..], &soon, &more].concat()).await, bus)
}

/// Starts Redis, and waits until it is ready; `None` if it ends before.
async fn run(port: u16, arguments: &[String], folder: &TempDir) -> Option<Child> {
    let mut command = Command::new(program());
    // An argument of those that follow takes the place of this one.
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
    command.args(["--appendonly", "no", "--daemonize", "no"]).arg("--dir").arg(folder.path());
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("there is such a program");
    let mut lines = BufReader::new(child.stdout.take()?).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.contains("Ready to accept connections") {
            // So that it can go on to write there.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Some(child);
        }
    }
    None
}

/// What is started: `redis-server`, or what the environment names in its place, such as
/// a `valkey-server`.
fn program() -> String {
    std::env::var("TOWER_EDGE_REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned())
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it is bound").port()
}

const MASTERS: usize = 3;
const SLOTS: usize = 16_384;
