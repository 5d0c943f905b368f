//! The cache of the gateway in front of servers that are not ours.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tower_edge_tests::{Program, body, is_hit, run};

use crate::gateway;

#[tokio::test]
async fn the_second_get_of_a_file_of_nginx_is_a_hit() {
    let nginx = Server::nginx();
    let gateway = nginx.gateway().await;
    let (first, second) = (get(&gateway, "/file.txt").await, get(&gateway, "/file.txt").await);
    assert_field(&first, "cache-status: tower-edge; fwd=uri-miss; stored");
    assert!(!first.contains("\r\nage: "), "{first}");
    assert!(is_hit(&second), "{second}");
    for said in [&first, &second] {
        assert_field(said, "cache-control: max-age=60");
        assert!(said.ends_with("\r\n\r\nwritten once\n"), "{said}");
    }
}

#[tokio::test]
async fn a_condition_that_holds_is_answered_304() {
    let nginx = Server::nginx();
    let gateway = nginx.gateway().await;
    let whole = get(&gateway, "/file.txt").await;
    for (field, condition) in [("etag", "If-None-Match"), ("last-modified", "If-Modified-Since")] {
        let value = whole.lines().find_map(|line| line.strip_prefix(&format!("{field}: ")));
        let condition = format!("{condition}: {}", value.unwrap());
        let said = get(&gateway, &format!("/file.txt -H '{condition}'")).await;
        assert!(said.starts_with("HTTP/1.1 304 "), "{said}");
        assert!(said.ends_with("\r\n\r\n"), "{said}");
        assert!(is_hit(&said), "{said}");
    }
    let other = get(&gateway, "/file.txt -H 'If-None-Match: \"other\"'").await;
    assert!(other.starts_with("HTTP/1.1 200 "), "{other}");
}

#[tokio::test]
async fn variants_are_kept_apart() {
    let nginx = Server::nginx();
    let gateway = nginx.gateway().await;
    let mut said = Vec::new();
    for language in ["de", "en", "de", "en"] {
        said.push(get(&gateway, &format!("/vary -H 'Accept-Language: {language}'")).await);
        assert!(said.last().unwrap().contains(&format!("\r\n\r\n{language} ")));
    }
    assert_field(&said[1], "cache-status: tower-edge; fwd=vary-miss; stored");
    for (first, second) in [(0, 2), (1, 3)] {
        assert!(is_hit(&said[second]), "{}", said[second]);
        assert_eq!(body(&said[first]), body(&said[second]));
    }
}

#[tokio::test]
async fn a_post_invalidates() {
    let nginx = Server::nginx();
    let gateway = nginx.gateway().await;
    let (first, second) = (get(&gateway, "/unique").await, get(&gateway, "/unique").await);
    assert!(is_hit(&second), "{second}");
    assert_eq!(body(&first), body(&second));
    let posted = get(&gateway, "/unique -X POST").await;
    assert!(posted.starts_with("HTTP/1.1 200 "), "{posted}");
    let third = get(&gateway, "/unique").await;
    assert_field(&third, "cache-status: tower-edge; fwd=uri-miss; stored");
    assert_ne!(body(&first), body(&third));
}

#[tokio::test]
async fn a_head_is_answered_from_a_stored_get() {
    let nginx = Server::nginx();
    let gateway = nginx.gateway().await;
    get(&gateway, "/file.txt").await;
    let said = get(&gateway, "/file.txt --head").await;
    assert!(is_hit(&said), "{said}");
    assert_field(&said, "content-length: 13");
    assert!(said.ends_with("\r\n\r\n"), "{said}");
}

#[tokio::test]
async fn parts_of_a_file_become_the_file() {
    for flags in BOTH {
        let nginx = Server::nginx();
        let gateway = nginx.gateway_with(flags).await;
        for (range, did, text) in [
            ("0-6", "fwd=uri-miss; stored", "written"),
            ("2-4", "hit", "itt"),
            ("5-12", "fwd=partial; stored", "en once\n"),
            ("-5", "hit", "once\n"),
        ] {
            let said = get(&gateway, &format!("/file.txt -r {range}")).await;
            assert!(said.starts_with("HTTP/1.1 206 "), "{said}");
            assert!(
                said.contains(&format!("\r\ncache-status: tower-edge; {did}")),
                "{range} {said}"
            );
            assert_eq!(body(&said), text);
        }
        let whole = get(&gateway, "/file.txt").await;
        assert!(whole.starts_with("HTTP/1.1 200 ") && is_hit(&whole), "{whole}");
        assert_field(&whole, "content-length: 13");
        assert_eq!(body(&whole), "written once\n");
        assert!(!whole.contains("content-range"), "{whole}");
    }
}

#[tokio::test]
async fn a_file_that_has_changed_is_fetched_again_as_it_is_asked_for() {
    for flags in BOTH {
        let nginx = Server::nginx();
        let gateway = nginx.gateway_with(flags).await;
        get(&gateway, "/checked.txt").await;
        let same = get(&gateway, "/checked.txt").await;
        assert_field(&same, "cache-status: tower-edge; fwd=stale; fwd-status=304");
        assert_eq!(body(&same), "written once\n");
        fs::write(nginx.folder.join("checked.txt"), "written anew\n").unwrap();
        let part = get(&gateway, "/checked.txt -r 8-11").await;
        assert!(part.starts_with("HTTP/1.1 206 "), "{part}");
        assert_eq!(body(&part), "anew");
        let tag = part.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
        let old = same.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
        for (if_range, status, text) in [(tag, 206, "anew"), (old, 200, "written anew\n")] {
            let asked = format!("/checked.txt -r 8-11 -H 'If-Range: {if_range}'");
            let said = get(&gateway, &asked).await;
            assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
            assert_eq!(body(&said), text);
        }
    }
}

#[tokio::test]
async fn what_the_rfc_permits_and_we_do_not_is_a_flag() {
    for (flags, permitted) in [(&[][..], false), (&["--cache-rfc"], true)] {
        let nginx = Server::nginx();
        let gateway = nginx.gateway_with(flags).await;
        let (first, second) = (get(&gateway, "/cookie").await, get(&gateway, "/cookie").await);
        assert_field(&first, "set-cookie: session=one");
        assert_field(&second, "set-cookie: session=one");
        assert_eq!(is_hit(&second), permitted, "{second}");
        get(&gateway, "/checked.txt").await;
        drop(nginx);
        let down = get(&gateway, "/checked.txt").await;
        match permitted {
            true => {
                assert!(down.starts_with("HTTP/1.1 200 "), "{down}");
                assert!(down.contains("; detail=stale-if-error\r\n"), "{down}");
                assert_eq!(body(&down), "written once\n");
            }
            false => assert!(down.starts_with("HTTP/1.1 502 "), "{down}"),
        }
    }
}

#[tokio::test]
async fn a_post_that_names_its_target_answers_the_next_get() {
    let nginx = Server::nginx();
    let gateway = nginx.gateway().await;
    let posted = get(&gateway, "/here -X POST -d x").await;
    assert_field(&posted, "cache-status: tower-edge; fwd=method; stored");
    let got = get(&gateway, "/here").await;
    assert!(is_hit(&got), "{got}");
    assert_eq!(body(&posted), body(&got));
    assert_ne!(body(&get(&gateway, "/here -X POST -d x").await), body(&got));
}

#[tokio::test]
async fn codings_that_mean_the_same_are_one_variant() {
    let nginx = Server::nginx();
    let gateway = nginx.gateway().await;
    let mut said = Vec::new();
    for accepted in ["gzip, br", "br;q=1.0,gzip", "identity", ""] {
        let asked = format!("/gzip.txt -H 'Accept-Encoding: {accepted}' -o /dev/null -D -");
        said.push(get(&gateway, &asked).await);
    }
    for (said, hit, gzip) in [
        (&said[0], false, true),
        (&said[1], true, true),
        (&said[2], false, false),
        (&said[3], false, false),
    ] {
        assert_eq!((is_hit(said), said.contains("content-encoding: gzip")), (hit, gzip), "{said}");
    }
}

/// nginx weakens the tag of what it encodes, but not that of a 304.
#[tokio::test]
async fn what_nginx_encodes_is_validated_in_each_coding() {
    let nginx = Server::nginx();
    let gateway = nginx.gateway().await;
    let again = ["", " -H 'Cache-Control: no-cache'", " -H 'Cache-Control: no-cache'", ""];
    for (turn, more) in again.iter().enumerate() {
        for accepted in ["gzip", "identity", "gzip, deflate"] {
            let asked = format!("/gzip.txt -H 'Accept-Encoding: {accepted}'{more} --compressed");
            let said = get(&gateway, &asked).await;
            assert!(said.starts_with("HTTP/1.1 200 "), "{accepted} {said}");
            assert_eq!(body(&said), "written once\n");
            let encoded = said.contains("\r\ncontent-encoding: gzip\r\n");
            assert_eq!(encoded, accepted != "identity", "{accepted} {said}");
            assert_eq!(said.contains("\r\netag: W/"), encoded, "{said}");
            let did = ["fwd=", "fwd=request; fwd-status=304", "fwd=request; fwd-status=304", "hit"];
            assert!(
                said.contains(&format!("\r\ncache-status: tower-edge; {}", did[turn])),
                "{said}"
            );
        }
    }
}

#[tokio::test]
async fn bare_means_without_the_cache() {
    let nginx = Server::nginx();
    let gateway = gateway(&["--origin", &nginx.url(), "--bare"]).await;
    let (first, second) = (get(&gateway, "/unique").await, get(&gateway, "/unique").await);
    assert_ne!(body(&first), body(&second));
    assert!(!second.contains("cache-status"), "{second}");
}

#[tokio::test]
async fn a_server_of_http_1_0_is_cached_by_the_age_of_its_files() {
    let python = Server::python();
    let gateway = python.gateway().await;
    let (first, second) = (get(&gateway, "/file.txt").await, get(&gateway, "/file.txt").await);
    assert_field(&first, "via: 1.0 tower-edge");
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
    assert!(is_hit(&second), "{second}");
    assert!(second.ends_with("\r\n\r\nwritten once\n"), "{second}");
    let missing = get(&gateway, "/missing").await;
    assert!(missing.starts_with("HTTP/1.1 404 "), "{missing}");
}

/// A server in a folder of its own; stopped when it is dropped.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Server {
    fn nginx() -> Self {
        Self::nginx_with(SITE)
    }

    /// nginx with these lines in its only `server`.
    pub(crate) fn nginx_with(site: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let folder = folder(&format!("nginx-{}", address.port()));
        let config = NGINX.replace("ADDRESS", &address.to_string()).replace("SITE", site);
        fs::write(folder.join("nginx.conf"), config).unwrap();
        // nginx takes over a socket that is already bound, so no port is
        // guessed and no connection is too early.
        let mut nginx = Command::new("nginx");
        nginx.arg("-p").arg(&folder).args(["-e", "error.log", "-c", "nginx.conf"]);
        nginx.env("NGINX", "0;").stdin(Stdio::from(OwnedFd::from(listener)));
        let child = nginx.spawn();
        Self { child: child.expect("nginx; `cargo xtask test` installs it"), address, folder }
    }

    fn python() -> Self {
        let folder = folder(&format!("python-{}", std::process::id()));
        let mut python = Command::new("python3");
        python.args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"]);
        python.arg(&folder).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = python.spawn();
        let mut child = child.expect("python3; `cargo xtask test` installs it");
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let port = said.split(' ').skip_while(|word| *word != "port").nth(1).unwrap();
        Self { child, address: ([127, 0, 0, 1], port.parse().unwrap()).into(), folder }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    async fn gateway(&self) -> Program {
        self.gateway_with(&[]).await
    }

    async fn gateway_with(&self, flags: &[&str]) -> Program {
        gateway(&[&["--origin", &self.url()], flags].concat()).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Not by SIGKILL: the worker of nginx would stay.
        let kill = format!("kill {}", self.child.id());
        let _ = Command::new("sh").args(["-c", &kill]).status();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A folder with files that were last changed an hour ago.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    let hour_ago = tower_edge::core::Clock::system().wall() - Duration::from_secs(3_600);
    for name in ["file.txt", "checked.txt", "gzip.txt"] {
        fs::write(folder.join(name), "written once\n").unwrap();
        let file = File::options().write(true).open(folder.join(name)).unwrap();
        file.set_modified(hour_ago).unwrap();
    }
    folder
}

async fn get(gateway: &Program, path_and_flags: &str) -> String {
    run(&format!("curl -i {}", gateway.url(path_and_flags))).await
}

#[track_caller]
fn assert_field(said: &str, line: &str) {
    assert!(said.contains(&format!("\r\n{line}\r\n")), "{line} is missing in\n{said}");
}

/// Our defaults, and all that RFC 9111 permits.
const BOTH: [&[&str]; 2] = [&[], &["--cache-rfc"]];

const NGINX: &str = "\
daemon off;
user root;
worker_processes 1;
pid nginx.pid;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {
        listen ADDRESS;
        root .;
        SITE
    }
}
";

const SITE: &str = "\
location /file.txt {
    expires 60s;
}
location /checked.txt {
    add_header Cache-Control max-age=0;
}
location /gzip.txt {
    expires 60s;
    gzip on;
    gzip_vary on;
    gzip_min_length 1;
    gzip_http_version 1.0;
    gzip_proxied any;
    gzip_types text/plain;
}
location /cookie {
    add_header Cache-Control max-age=60;
    add_header Set-Cookie session=one;
    return 200 $request_id;
}
location /here {
    add_header Cache-Control max-age=60;
    add_header Content-Location $request_uri;
    return 200 $request_id;
}
location /unique {
    add_header Cache-Control max-age=60;
    return 200 $request_id;
}
location /vary {
    add_header Cache-Control max-age=60;
    add_header Vary Accept-Language;
    return 200 \"$http_accept_language $request_id\";
}
";
