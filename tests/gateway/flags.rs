use std::process::Output;

use tokio::process::Command;
use tower_edge_tests::soon;

use crate::gateway;

pub(crate) async fn refused(flags: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    let output = soon(command.args(flags).kill_on_drop(true).output()).await.unwrap();
    let Output { status, stderr, .. } = output;
    assert_eq!(status.code(), Some(2), "{flags:?}");
    String::from_utf8(stderr).unwrap()
}

#[tokio::test]
async fn an_unknown_flag_is_an_error_that_names_the_nearest_one() {
    for (unknown, nearest) in [
        ("--orign", "--origin"),
        ("--listn", "--listen"),
        ("--cache-mem", "--cache-memory"),
        ("--no-latncy", "--no-latency"),
        ("--server-timings", "--server-timing"),
    ] {
        let error = refused(&[unknown]).await;
        assert!(error.contains(&format!("'{unknown}'")), "{error}");
        assert!(error.contains(&format!("exists: '{nearest}'")), "{error}");
    }
}

#[tokio::test]
async fn a_bad_value_is_one_line_with_the_flag_and_a_right_value() {
    for (flag, value, right) in [
        ("--listen", "localhost", "127.0.0.1:3000"),
        ("--console", "3001", "127.0.0.1:3000"),
        ("--origin", "ftp://127.0.0.1", "http://127.0.0.1:8080"),
        ("--cache-memory", "16XB", "16MiB"),
        ("--cache-disk-size", "1TB", "1GiB"),
        ("--trust", "10.0.0.0/33", "10.0.0.0/8"),
        ("--rate", "100", "100/1s"),
        ("--rate-key", "header:", "header:x-api-key"),
        ("--rate-wait", "0", "5000"),
        ("--breaker", "50%", "0.5"),
        ("--timeout", "soon", "5000"),
        ("--shutdown-grace", "0", "5000"),
    ] {
        let error = refused(&[flag, value]).await;
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.starts_with("error: "), "{error}");
        for part in [flag, value, right] {
            assert!(error.contains(part), "{error}");
        }
    }
}

#[tokio::test]
async fn a_port_in_use_is_one_line_with_the_flag_and_a_right_value() {
    let first = gateway(&[]).await;
    let address = first.address().to_string();
    for flags in [&["--listen"][..], &["--listen", "127.0.0.1:0", "--console"]] {
        let error = refused(&[flags, &[&address]].concat()).await;
        let flag = flags[flags.len() - 1];
        assert_eq!(error.lines().count(), 1, "{error}");
        for part in [flag, &address, "in use", "127.0.0.1:0"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
