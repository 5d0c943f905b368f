//! Where Redis is, and how it is reached.

use std::fmt;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    ProtocolVersion, RedisResult, TlsCertificates,
};

use crate::error::UrlError;

/// Where Redis is; shown without what it takes to be let in.
#[derive(Clone)]
pub(crate) struct Address {
    nodes: Vec<ConnectionInfo>,
    is_cluster: bool,
    roots: Option<Vec<u8>>,
}

/// One connection to a node, or to all of a Cluster.
#[derive(Clone)]
pub(crate) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = url.split_once("://").ok_or_else(UrlError::new)?;
        let (is_cluster, scheme) = match scheme.split_once('+') {
            Some((scheme @ ("redis" | "rediss"), "cluster")) => (true, scheme),
            Some(_) => return Err(UrlError::new()),
            None => (false, scheme),
        };
        let nodes = match is_cluster {
            true => {
                let (user, hosts) = match rest.rsplit_once('@') {
                    Some((user, hosts)) => (format!("{user}@"), hosts),
                    None => (String::new(), rest),
                };
                let hosts = hosts.trim_end_matches('/').split(',');
                hosts.map(|host| node(&format!("{scheme}://{user}{host}"))).collect()
            }
            false => node(url).map(|node| vec![node]),
        };
        Ok(Self { nodes: nodes?, is_cluster, roots: None }.with_provider())
    }

    /// Trusts these certificates, in PEM, in place of those of the system.
    pub(crate) fn trust(mut self, roots: Vec<u8>) -> Result<Self, UrlError> {
        self.roots = Some(roots);
        for node in &self.nodes {
            Client::build_with_tls(node.clone(), self.certificates())
                .map_err(|_| UrlError::new())?;
        }
        Ok(self)
    }

    pub(crate) async fn connect(&self) -> RedisResult<Connection> {
        if self.is_cluster {
            let mut client = ClusterClient::builder(self.nodes.clone())
                .retries(1)
                .max_retry_wait(10)
                .connection_timeout(CONNECTING)
                .response_timeout(CONNECTING)
                .tcp_settings(TcpSettings::default().set_nodelay(true));
            if self.roots.is_some() {
                client = client.certs(self.certificates());
            }
            let connection = client.build()?.get_async_connection().await?;
            return Ok(Connection::Cluster(connection));
        }
        let node = self.nodes[0].clone();
        let client = match self.roots {
            Some(_) => Client::build_with_tls(node, self.certificates())?,
            None => Client::open(node)?,
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECTING))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(MOST_QUEUED);
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Connection::One(connection))
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.is_cluster
    }

    fn certificates(&self) -> TlsCertificates {
        TlsCertificates { client_tls: None, root_cert: self.roots.clone() }
    }

    /// Where there are several providers of cryptography in a program, rustls wants
    /// to be told which one it is to take.
    fn with_provider(self) -> Self {
        let is_tls = |node: &ConnectionInfo| matches!(node.addr(), ConnectionAddr::TcpTls { .. });
        if self.nodes.iter().any(is_tls) && rustls::crypto::CryptoProvider::get_default().is_none()
        {
            // Somebody may have been faster, and then there is one.
            drop(rustls::crypto::ring::default_provider().install_default());
        }
        self
    }
}

/// Where it is; no names and no passwords.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, node) in self.nodes.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "," })?;
            node.addr().fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn node(url: &str) -> Result<ConnectionInfo, UrlError> {
    let node = url.into_connection_info().map_err(|_| UrlError::new())?;
    let settings = node.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    let tcp = TcpSettings::default().set_nodelay(true);
    let node = node.set_redis_settings(settings).set_tcp_settings(tcp);
    let verifies = !matches!(node.addr(), ConnectionAddr::TcpTls { insecure: true, .. });
    let has_host = match node.addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => !host.is_empty(),
        _ => true,
    };
    if verifies && has_host { Ok(node) } else { Err(UrlError::new()) }
}

/// How long a connection may take to be made, name, TLS and all.
pub(crate) const CONNECTING: Duration = Duration::from_secs(1);

/// How many commands may wait to be sent before others wait for them.
const MOST_QUEUED: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_one_node_or_those_of_a_cluster() {
        for (url, shown, is_cluster) in [
            ("redis://h", "h:6379", false),
            ("redis://:secret@127.0.0.1:7000/3", "127.0.0.1:7000", false),
            ("rediss://user:secret@h:7000", "h:7000", false),
            ("redis+cluster://a,b:7000,c", "a:6379,b:7000,c:6379", true),
            ("redis+cluster://user:s%40cret@a:1,[::1]:2/", "a:1,::1:2", true),
            ("rediss+cluster://user:p@ss@a", "a:6379", true),
            ("unix:///run/redis.sock", "/run/redis.sock", false),
        ] {
            let address = Address::parse(url).unwrap_or_else(|_| panic!("{url}"));
            assert_eq!((address.to_string().as_str(), address.is_cluster), (shown, is_cluster));
            assert_eq!(format!("{address:?}"), shown);
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_a_word_of_it() {
        for url in [
            "",
            "h",
            "http://:secret@h",
            "redis://",
            "redis+x://secret",
            "http+cluster://h",
            "redis+cluster://",
            "redis+cluster://a,,b",
            "redis://:secret@h:port",
            "rediss://:secret@h#insecure",
        ] {
            let error = Address::parse(url).map(drop).expect_err(url);
            let said = format!("{error} {error:?}");
            assert!(!said.contains("secret") && said.contains("redis://HOST"), "{said}");
        }
    }
}
