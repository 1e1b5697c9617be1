//! Asking name servers, with the time to live of what they say; the system's resolver where they know nothing.

use super::DiscoverSettings;
use crate::balance::endpoint::{Endpoint, MAX_WEIGHT};
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::{Resolver, TokioResolver};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// How long the system's resolver may take, and how long its answers are taken to hold.
const SYSTEM: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));

/// An answer, and when to ask again.
#[derive(Debug)]
pub(super) enum Answer<T> {
    Found(Vec<T>, Instant),
    Empty(Instant),
    Failed(Instant, String),
}

/// Where to ask.
pub(super) struct Lookup {
    resolver: Option<TokioResolver>,
    /// Whether the system's resolver may be asked where the name servers know nothing.
    system: bool,
    bounds: (Duration, Duration),
}

impl Lookup {
    pub(super) fn new(settings: &DiscoverSettings) -> Self {
        let builder = match settings.nameserver {
            Some(server) => {
                let ports = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = server.port();
                    connection
                });
                let server = NameServerConfig::new(server.ip(), true, ports.to_vec());
                let config = ResolverConfig::from_name_servers(vec![server]);
                Ok(Resolver::builder_with_config(config, TokioRuntimeProvider::default()))
            }
            None => TokioResolver::builder_tokio(),
        };
        let resolver = builder.and_then(|mut builder| {
            let options = builder.options_mut();
            options.cache_size = 0;
            options.timeout = Duration::from_secs(2);
            options.attempts = 2;
            options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
            builder.build()
        });
        if let Err(error) = &resolver {
            tracing::warn!(%error, "no name server is known; the system's resolver is asked");
        }
        Self {
            resolver: resolver.ok(),
            system: settings.nameserver.is_none(),
            bounds: (settings.min_ttl.0, settings.max_ttl.0),
        }
    }

    /// Not before, and not after.
    fn within(&self, due: Instant) -> Instant {
        let now = Instant::now();
        due.clamp(now + self.bounds.0, now + self.bounds.1.max(self.bounds.0))
    }

    fn soon(&self) -> Instant {
        Instant::now() + self.bounds.0
    }

    /// The addresses of a name.
    pub(super) async fn addresses(&self, host: &str, port: u16) -> Answer<SocketAddr> {
        let mut last = Answer::Failed(self.soon(), "there is no name server".to_owned());
        if let Some(resolver) = &self.resolver {
            last = match resolver.lookup_ip(host).await {
                Ok(found) => {
                    let addresses: Vec<_> = found.iter().map(|address| SocketAddr::new(address, port)).collect();
                    if !addresses.is_empty() {
                        return Answer::Found(addresses, self.within(found.valid_until()));
                    }
                    Answer::Empty(self.soon())
                }
                Err(error) => self.nothing(&error),
            };
        }
        if !self.system {
            return last;
        }
        match timeout(SYSTEM.0, tokio::net::lookup_host((host, port))).await {
            Ok(Ok(found)) => {
                let addresses: Vec<_> = found.collect();
                if addresses.is_empty() {
                    last
                } else {
                    Answer::Found(addresses, self.within(Instant::now() + SYSTEM.1))
                }
            }
            _ => last,
        }
    }

    /// The endpoints of a service record (RFC 2782): those of its lowest priority, with their weights.
    pub(super) async fn service(&self, name: &str) -> Answer<Endpoint> {
        let Some(resolver) = &self.resolver else {
            return Answer::Failed(self.soon(), "there is no name server".to_owned());
        };
        let found = match resolver.srv_lookup(name).await {
            Ok(found) => found,
            Err(error) => return self.nothing(&error),
        };
        let records = found.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(srv),
            _ => None,
        });
        let first = records.clone().map(|srv| srv.priority).min();
        let records = records.filter(|srv| Some(srv.priority) == first);
        // A record's weight goes to 65535, ours less far: it is their proportion that counts.
        let most = records.clone().map(|srv| u32::from(srv.weight)).max().unwrap_or_default().max(MAX_WEIGHT);
        let mut endpoints: Vec<Endpoint> = records
            .filter_map(|srv| {
                let target = srv.target.to_ascii();
                let host = target.trim_end_matches('.');
                // Weight 0 is "hardly ever", and a target of "." is "not here": it has no host.
                let weight = (u32::from(srv.weight) * MAX_WEIGHT / most).clamp(1, MAX_WEIGHT);
                Endpoint::read(&format!("{host}:{} weight={weight}", srv.port))
            })
            .collect();
        endpoints.sort_by(|a, b| a.name().cmp(b.name()));
        if endpoints.is_empty() {
            return Answer::Empty(self.soon());
        }
        Answer::Found(endpoints, self.within(found.valid_until()))
    }

    fn nothing<T>(&self, error: &NetError) -> Answer<T> {
        if error.is_no_records_found() || error.is_nx_domain() {
            Answer::Empty(self.soon())
        } else {
            Answer::Failed(self.soon(), error.to_string())
        }
    }
}
