//! Gateways that share their quotas through a Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tower_edge::core::Clock;
use tower_edge_testkit::line::{Fault, Line};
use tower_edge_testkit::redis::{Cluster, Server};
use tower_edge_tests::{Connection, Program, soon};

use crate::flags::refused;
use crate::gateway;

/// A gateway with a quota for all, and with patience for a machine that is busy.
async fn limited(redis: &str, rate: &str, more: &[&str]) -> Program {
    let flags = ["--redis", redis, "--rate", rate, "--rate-key", "global", "--no-cache"];
    let patience: &[&str] = match more.contains(&"--redis-timeout") {
        true => &[],
        false => &["--redis-timeout", "5000"],
    };
    gateway(&[&flags[..], patience, more].concat()).await
}

async fn status(gateway: &Program) -> u16 {
    let request = "GET /json HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    gateway.exchange(request).await[9..12].parse().unwrap()
}

/// How many of so many requests get which answer: 200, 429, 503.
async fn statuses(gateway: &Program, requests: usize) -> [usize; 3] {
    let mut statuses = [0; 3];
    for _ in 0..requests {
        let status = status(gateway).await;
        statuses[[200, 429, 503].iter().position(|known| *known == status).unwrap()] += 1;
    }
    statuses
}

#[tokio::test]
async fn two_gateways_have_one_budget_and_so_after_a_restart() {
    let (server, cluster) = (Server::start().await, Cluster::start().await);
    for url in [server.url(), cluster.url()] {
        let [one, other] = [limited(&url, "10/1h", &[]).await, limited(&url, "10/1h", &[]).await];
        assert_eq!(statuses(&one, 4).await, [4, 0, 0]);
        assert_eq!(statuses(&other, 20).await, [6, 14, 0]);
        assert_eq!(statuses(&one, 5).await, [0, 5, 0]);
        assert_eq!((one.stop().await, other.stop().await), (String::new(), String::new()));
        let third = limited(&url, "10/1h", &[]).await;
        assert_eq!(statuses(&third, 5).await, [0, 5, 0]);
        third.stop().await;
    }
}

#[tokio::test]
async fn a_client_is_told_how_it_stands_with_all_gateways() {
    let server = Server::start().await;
    let [one, other] =
        [limited(&server.url(), "3/1h", &[]).await, limited(&server.url(), "3/1h", &[]).await];
    let get = "GET /json HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    for (gateway, told) in [(&one, "r=2;t=2400"), (&other, "r=1;t=1200"), (&one, "r=0;t=1")] {
        let answer = gateway.exchange(get).await;
        assert!(answer.contains(&format!("\r\nratelimit: \"3/1h\";{told}")), "{answer}");
        assert!(answer.contains("\r\nratelimit-policy: \"3/1h\";q=3;w=3600\r\n"), "{answer}");
    }
    let refused = other.exchange(get).await;
    let wait = refused.split("retry-after: ").nth(1).unwrap().split('\r').next().unwrap();
    assert!((1_100..=1_200).contains(&wait.parse().unwrap()), "{refused}");
}

/// Clients that go on asking, over connections that they keep.
struct Load {
    ended: Arc<AtomicBool>,
    admitted: Arc<AtomicU64>,
    answers: Arc<AtomicU64>,
    clients: JoinSet<()>,
}

impl Load {
    fn on(gateways: &[Program]) -> Self {
        let (ended, admitted, answers) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), Arc::default());
        let client = |gateway: &Program| {
            let (ended, admitted, address) = (ended.clone(), admitted.clone(), gateway.address());
            let answers: Arc<AtomicU64> = Arc::clone(&answers);
            async move {
                let mut client = Connection::to(address).await;
                while !ended.load(Ordering::SeqCst) {
                    client.send("HEAD /json HTTP/1.1\r\nHost: h\r\n\r\n").await;
                    let head = client.until("\r\n\r\n").await;
                    let is_admitted = head.starts_with("HTTP/1.1 200 ");
                    let is_known = is_admitted
                        || ["429", "503"].iter().any(|status| head[9..].starts_with(status));
                    assert!(is_known, "{head}");
                    admitted.fetch_add(u64::from(is_admitted), Ordering::SeqCst);
                    answers.fetch_add(1, Ordering::SeqCst);
                }
            }
        };
        let clients = gateways.iter().chain(gateways).map(client).collect();
        Self { ended, admitted, answers, clients }
    }

    /// Waits for so many more answers.
    async fn go_on(&self, answers: u64) {
        let until = self.answers.load(Ordering::SeqCst) + answers;
        soon(async {
            while self.answers.load(Ordering::SeqCst) < until {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    fn admitted(&self) -> u64 {
        self.admitted.load(Ordering::SeqCst)
    }

    async fn end(self) {
        self.ended.store(true, Ordering::SeqCst);
        soon(self.clients.join_all()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_under_load_use_one_budget_and_all_of_it() {
    let server = Server::start().await;
    let (url, rate) = (server.url(), "200/1s");
    let gateways = [limited(&url, rate, &[]).await, limited(&url, rate, &[]).await];
    let clock = Clock::system();
    let begin = clock.now();
    let load = Load::on(&gateways);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (admitted, lasted) = (load.admitted() as f64, clock.since(begin).as_secs_f64());
    load.end().await;
    // The burst, what came back, and what was under way when it was counted.
    let quota = 200.0 + 200.0 * lasted;
    assert!(admitted <= quota + 4.0 && admitted >= 0.95 * quota, "{admitted} in {lasted} s");
    for gateway in gateways {
        assert_eq!(gateway.stop().await, "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_load_on_each_choice_does_what_it_says_whatever_becomes_of_redis() {
    for (choice, expected) in [("open", [40, 0, 0]), ("closed", [0, 0, 40]), ("local", [5, 35, 0])]
    {
        let mut server = Server::start().await;
        let line = Line::to(server.address()).await;
        let url = format!("redis://{}", line.address());
        let flags = ["--on-outage-quota", choice, "--redis-timeout", "200"];
        let gateways = [limited(&url, "10/1h", &flags).await, limited(&url, "10/1h", &flags).await];
        let load = Load::on(&gateways);
        // As long as it takes until both know of each other, and have used all.
        load.go_on(400).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        server.signal("STOP").await;
        load.go_on(400).await;
        server.signal("CONT").await;
        load.go_on(400).await;
        line.set(Fault::Late(Duration::from_secs(2)));
        load.go_on(400).await;
        line.set(Fault::None);
        line.cut();
        load.go_on(400).await;
        server.kill().await;
        load.go_on(400).await;
        load.end().await;
        for gateway in &gateways {
            // It refuses what it knows to be used up, until it knows that Redis is gone.
            if choice != "local" {
                soon(async { while statuses(gateway, 1).await == [0, 1, 0] {} }).await;
            }
            let statuses = statuses(gateway, 40).await;
            match choice {
                // In part, or all of it, before.
                "local" => assert!(statuses[0] <= 5 && statuses[2] == 0, "{statuses:?}"),
                _ => assert_eq!(statuses, expected, "{choice}"),
            }
        }
        server.restart().await;
        // With nothing in it: all permits are there once more, and then none.
        soon(async {
            while statuses(&gateways[0], 1).await[0] == 0 || !is_counted(&server).await {}
        })
        .await;
        soon(async { while statuses(&gateways[0], 1).await != [0, 1, 0] {} }).await;
        for gateway in gateways {
            let said = gateway.stop().await;
            assert!(!said.contains("panicked"), "{said}");
        }
    }
}

/// Whether something was used of a quota there.
async fn is_counted(server: &Server) -> bool {
    !server.cli(&["KEYS", "*:quota:*"]).await.is_empty()
}

#[tokio::test]
async fn what_does_not_go_together_is_refused() {
    let flags = ["--listen", "127.0.0.1:0", "--redis", "redis://h", "--rate", "1/1s"];
    let error = refused(&[&flags[..], &["--rate-wait", "100"]].concat()).await;
    assert!(error.contains("--rate-wait") && error.contains("--redis"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}
