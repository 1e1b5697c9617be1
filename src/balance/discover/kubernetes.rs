//! Replicas from the EndpointSlices of a Kubernetes service (`discovery.k8s.io/v1`).
//!
//! All slices of the service are listed, then watched, so a pod is taken in or out within the time that Kubernetes needs
//! to notice. An endpoint is a replica unless it is said not to be ready (unsaid counts as ready, as the API asks); one
//! that terminates is not ready, so it gets nothing new and finishes what it has. While the API server cannot be asked,
//! what it said last stays. Needs a service account that may `list` and `watch` `endpointslices` of the namespace.

use serde::{Deserialize, Serialize};

/// `[upstream.discover.kubernetes]`: the service whose pods are the replicas.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KubernetesSettings {
    /// The name of the service; empty: Kubernetes is not asked.
    pub service: String,
    /// Its namespace; empty: the one the gate runs in.
    pub namespace: String,
    /// The port, by name or number; empty: the service's only one.
    pub port: String,
}

impl KubernetesSettings {
    pub(super) fn finds(&self) -> bool {
        !self.service.is_empty()
    }
}

#[cfg(feature = "kubernetes")]
pub(super) use watching::Slices;

#[cfg(feature = "kubernetes")]
mod watching {
    use super::super::{DiscoveryOutcome, Endpoint, MAX_ENDPOINTS};
    use super::KubernetesSettings;
    use crate::balance::pool::Pool;
    use futures_util::StreamExt;
    use k8s_openapi::api::discovery::v1::EndpointSlice;
    use kube::runtime::WatchStreamExt;
    use kube::runtime::watcher::{self, Event};
    use kube::{Api, Client, Config};
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    /// How long to wait before a client is made anew, or a watch that ended is begun again.
    const AGAIN: Duration = Duration::from_secs(5);
    /// The label that names the service of a slice.
    const SERVICE: &str = "kubernetes.io/service-name";

    /// What the slices of a service say, by their names.
    #[derive(Debug, Default)]
    pub(in super::super) struct Slices {
        known: BTreeMap<String, Vec<Endpoint>>,
        /// While all are listed anew: what has come of them.
        listing: Option<BTreeMap<String, Vec<Endpoint>>>,
    }

    impl Slices {
        /// Takes in an event; the endpoints in the order of the slices' names, once they are whole.
        pub(in super::super) fn take(&mut self, event: Event<EndpointSlice>, port: &str) -> Option<Vec<Endpoint>> {
            match event {
                Event::Init => self.listing = Some(BTreeMap::new()),
                Event::InitApply(slice) => {
                    self.listing.get_or_insert_default().insert(name(&slice), endpoints(&slice, port));
                }
                Event::InitDone => self.known = self.listing.take().unwrap_or_default(),
                Event::Apply(slice) => drop(self.known.insert(name(&slice), endpoints(&slice, port))),
                Event::Delete(slice) => drop(self.known.remove(&name(&slice))),
            }
            // Nothing is decided by half a list.
            let whole = self.listing.is_none();
            whole.then(|| {
                let mut all: Vec<Endpoint> = self.known.values().flatten().cloned().collect();
                // An endpoint may for a moment stand in two slices.
                let mut seen = std::collections::HashSet::new();
                all.retain(|endpoint| seen.insert(endpoint.name().clone()));
                all.truncate(MAX_ENDPOINTS);
                all
            })
        }
    }

    fn name(slice: &EndpointSlice) -> String {
        slice.metadata.name.clone().unwrap_or_default()
    }

    /// The endpoints of a slice that take requests.
    fn endpoints(slice: &EndpointSlice, port: &str) -> Vec<Endpoint> {
        // Names stand for themselves in a slice of type FQDN, which Kubernetes has given up.
        if slice.address_type == "FQDN" {
            return Vec::new();
        }
        let ports = slice.ports.as_deref().unwrap_or_default();
        let wanted =
            |number: i32, name: Option<&str>| port.is_empty() || name == Some(port) || port.parse() == Ok(number);
        let number = { ports.iter() }.find_map(|p| p.port.filter(|number| wanted(*number, p.name.as_deref())));
        let Some(number) = number else { return Vec::new() };
        let ready = slice.endpoints.iter().filter(|endpoint| {
            let conditions = endpoint.conditions.as_ref();
            conditions.and_then(|conditions| conditions.ready).unwrap_or(true)
        });
        // The addresses of one endpoint are the same pod: the first is enough.
        let addresses = ready.filter_map(|endpoint| endpoint.addresses.first());
        let written = |address: &String| match slice.address_type.as_str() {
            "IPv6" => format!("[{address}]:{number}"),
            _ => format!("{address}:{number}"),
        };
        addresses.filter_map(|address| Endpoint::read(&written(address))).collect()
    }

    impl Pool {
        /// Follows the slices of the service for ever.
        pub(in super::super) async fn follow_kubernetes(&self, settings: &KubernetesSettings) {
            let mut slices = Slices::default();
            loop {
                match client(settings).await {
                    Ok(api) => self.follow(api, settings, &mut slices).await,
                    Err(why) => self.looked(DiscoveryOutcome::Failed, "kubernetes", &why),
                }
                tokio::time::sleep(AGAIN).await;
            }
        }

        pub(in super::super) async fn follow(
            &self,
            api: Api<EndpointSlice>,
            settings: &KubernetesSettings,
            slices: &mut Slices,
        ) {
            let labels = format!("{SERVICE}={}", settings.service);
            let events = kube::runtime::watcher(api, watcher::Config::default().labels(&labels)).default_backoff();
            let mut events = std::pin::pin!(events);
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => {
                        if let Some(endpoints) = slices.take(event, &settings.port) {
                            self.put_sliced(endpoints);
                        }
                    }
                    Err(error) => self.looked(DiscoveryOutcome::Failed, "kubernetes", &error.to_string()),
                }
            }
        }

        fn put_sliced(&self, endpoints: Vec<Endpoint>) {
            let mut discovery = self.discovery.lock();
            let outcome = if endpoints == discovery.sliced {
                DiscoveryOutcome::Unchanged
            } else if endpoints.is_empty() {
                // No pod is ready: those that were may still answer, and others cannot.
                DiscoveryOutcome::Empty
            } else {
                discovery.sliced = endpoints;
                DiscoveryOutcome::Changed
            };
            drop(discovery);
            self.looked(outcome, "kubernetes", "no endpoint is ready");
            if outcome == DiscoveryOutcome::Changed {
                self.renew(Instant::now());
            }
        }
    }

    /// A client with what the pod, or the user, is given to speak to the API server.
    async fn client(settings: &KubernetesSettings) -> Result<Api<EndpointSlice>, String> {
        let config = Config::infer().await.map_err(|error| error.to_string())?;
        let client = Client::try_from(config).map_err(|error| error.to_string())?;
        Ok(match settings.namespace.as_str() {
            "" => Api::default_namespaced(client),
            namespace => Api::namespaced(client, namespace),
        })
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use serde_json::json;

        fn slice(name: &str, addresses: &[(&str, Option<bool>)]) -> EndpointSlice {
            let endpoints: Vec<_> = addresses
                .iter()
                .map(|(address, ready)| json!({"addresses": [address], "conditions": {"ready": ready}}))
                .collect();
            let kind = if addresses.iter().any(|(address, _)| address.contains(':')) { "IPv6" } else { "IPv4" };
            serde_json::from_value(json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": kind,
                "metadata": {"name": name}, "endpoints": endpoints,
                "ports": [{"name": "metrics", "port": 9090}, {"name": "http", "port": 8181}],
            }))
            .unwrap()
        }

        fn names(endpoints: Option<Vec<Endpoint>>) -> Option<Vec<String>> {
            endpoints.map(|all| all.iter().map(|endpoint| endpoint.name().to_string()).collect())
        }

        #[test]
        fn endpoints_come_and_go_with_their_slices() {
            let mut slices = Slices::default();
            let mut take = |event| names(slices.take(event, "http"));
            assert_eq!(take(Event::Init), None, "half a list decides nothing");
            let first = slice("a", &[("10.0.0.1", None), ("10.0.0.2", Some(false)), ("10.0.0.3", Some(true))]);
            assert_eq!(take(Event::InitApply(first)), None);
            assert_eq!(take(Event::InitDone).unwrap(), ["10.0.0.1:8181", "10.0.0.3:8181"]);
            let second = slice("b", &[("fd00::1", Some(true))]);
            assert_eq!(take(Event::Apply(second.clone())).unwrap().len(), 3);
            let twice = slice("c", &[("10.0.0.3", Some(true))]);
            assert_eq!(take(Event::Apply(twice)).unwrap().len(), 3, "in two slices for a moment");
            assert_eq!(take(Event::Apply(slice("a", &[]))).unwrap(), ["[fd00::1]:8181", "10.0.0.3:8181"]);
            assert_eq!(take(Event::Delete(second)).unwrap(), ["10.0.0.3:8181"]);
            // A watch that was broken lists anew, and what is gone by then is gone.
            take(Event::Init);
            assert_eq!(take(Event::InitDone).unwrap().len(), 0);
        }

        #[test]
        fn ports_by_name_and_number() {
            let slice = slice("a", &[("10.0.0.1", None)]);
            let of = |port: &str| names(Some(endpoints(&slice, port))).unwrap();
            assert_eq!(of("http"), ["10.0.0.1:8181"]);
            assert_eq!(of("8181"), ["10.0.0.1:8181"]);
            assert_eq!(of(""), ["10.0.0.1:9090"]);
            assert!(of("grpc").is_empty() && of("80").is_empty());
        }
    }
}
