// SPDX-License-Identifier: Apache-2.0
//! Members by the keys of an etcd, as a directive says it.

/// Where `etcd:` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdPlace {
    /// `http://host:port,http://host:port/prefix`, as written. Or `/prefix`: below the one of the
    /// store that servers share.
    pub place: String,
    /// `user=`; None: etcd asks for none.
    pub user: Option<String>,
    /// `password_file=`: the file with the user's password.
    pub password_file: Option<String>,
    /// `ca=`: the file with the certificates that are trusted; None: the system's store.
    pub ca: Option<String>,
    /// `cert=` and `key=`: the files of the client's own certificate.
    pub cert: Option<String>,
    /// See `cert`.
    pub key: Option<String>,
    /// `timeout=`: milliseconds that etcd may take for an answer.
    pub timeout_ms: u64,
}

impl EtcdPlace {
    /// With all keys at their defaults.
    pub fn of(place: String) -> Self {
        EtcdPlace {
            place,
            user: None,
            password_file: None,
            ca: None,
            cert: None,
            key: None,
            timeout_ms: 2000,
        }
    }

    /// Whether it is below the store that servers share.
    pub fn is_in_store(&self) -> bool {
        self.place.starts_with('/')
    }

    /// The same place as one of its own, by the store that servers share.
    pub fn in_store(&self, store: &EtcdPlace) -> Self {
        EtcdPlace { place: format!("{}{}", store.place, self.place), ..store.clone() }
    }

    /// The endpoints, as `http://host:port`.
    pub fn endpoints(&self) -> Vec<&str> {
        let end = self.place.len() - self.prefix().len();
        // A slash at the end stands in the address and in no prefix.
        self.place[..end].trim_end_matches('/').split(',').collect()
    }

    /// The begin of all keys, as `/lb/app`, without a slash at its end. Empty: it has none.
    pub fn prefix(&self) -> &str {
        let last = self.place.rfind("://").map_or(0, |at| at + 3);
        let path = self.place[last..].find('/').map_or("", |at| &self.place[last + at..]);
        path.trim_end_matches('/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_store_is_reached_as_the_store_is() {
        let store = EtcdPlace { user: Some("lb".into()), ..EtcdPlace::of("http://a:1,http://b:2/lb".into()) };
        let own = EtcdPlace::of("/pools/app/members".into());
        let whole = own.in_store(&store);
        assert!(own.is_in_store() && !whole.is_in_store());
        assert_eq!((whole.endpoints(), whole.prefix()), (store.endpoints(), "/lb/pools/app/members"));
        assert_eq!(whole.user.as_deref(), Some("lb"));
    }

    #[test]
    fn the_last_endpoint_carries_the_prefix() {
        for (place, endpoints, prefix) in [
            ("http://a:1/lb", vec!["http://a:1"], "/lb"),
            ("http://a:1,https://[::1]:2/lb/app", vec!["http://a:1", "https://[::1]:2"], "/lb/app"),
            ("http://a:1", vec!["http://a:1"], ""),
        ] {
            let of = EtcdPlace::of(place.to_owned());
            assert_eq!((of.endpoints(), of.prefix()), (endpoints, prefix), "{place}");
        }
    }
}
