// SPDX-License-Identifier: Apache-2.0
//! Members by the EndpointSlices of a service of Kubernetes, as a directive says it.

/// Where `kubernetes:` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesPlace {
    /// As written: `namespace/service:port`, with a port's name or number.
    pub place: String,
    /// `server=`: the API server's URL; None: as a pod finds it.
    pub server: Option<String>,
    /// `every=`: milliseconds that a watch may last.
    pub every_ms: u64,
    /// `timeout=`: milliseconds that a list may take, and a watch beyond its time.
    pub timeout_ms: u64,
    /// `token_file=`: the file with the token; None: the pod's own, unless `server=` is there.
    pub token_file: Option<String>,
    /// `ca=`: the file with the certificates that are trusted; None: as with `token_file=`.
    pub ca: Option<String>,
}

impl KubernetesPlace {
    /// With all keys at their defaults.
    pub fn of(place: String) -> Self {
        let (every_ms, timeout_ms) = (60_000, 10_000);
        KubernetesPlace { place, server: None, every_ms, timeout_ms, token_file: None, ca: None }
    }

    /// The namespace, the service, and the port.
    pub fn parts(&self) -> (&str, &str, &str) {
        let (namespace, rest) = self.place.split_once('/').unwrap_or((&self.place, ""));
        let (service, port) = rest.split_once(':').unwrap_or((rest, ""));
        (namespace, service, port)
    }
}
