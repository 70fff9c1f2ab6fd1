// SPDX-License-Identifier: Apache-2.0
//! The first word of `LuaBalancerDiscovery`, and the keys that only one kind of source has. Each
//! kind has its arms here.

use super::{consul_source, dns_source, etcd_source, http_source, kubernetes_source, lua_source};
use crate::error::ParseError;
use crate::settings::{EtcdPlace, SourcePlace};

/// The usual forms.
pub(super) const EXAMPLES: &str = "file:PATH, http:URL, dns:NAME:PORT, etcd:URL/PREFIX, consul:URL/SERVICE, \
                                   kubernetes:NAMESPACE/SERVICE:PORT or lua:SCRIPT, for example file:/etc/lb/app.json";

/// Reads the word.
pub(super) fn read(place: &str) -> Result<SourcePlace, ParseError> {
    let wrong = |expected: String| Err(ParseError::word(place, expected));
    match place.split_once(':') {
        Some(("file", path)) if !path.is_empty() && !path.chars().any(char::is_control) => {
            Ok(SourcePlace::File(path.to_owned()))
        }
        Some(("dns", name)) => dns_source::read(place, name).map(SourcePlace::Dns),
        Some(("http", url)) if !url.starts_with("//") => http_source::read(place, url).map(SourcePlace::Http),
        Some(("http" | "https", _)) if !place.contains('@') => {
            wrong(format!("http:{place}, for a web server's list"))
        }
        Some(("http" | "https", _)) => http_source::read("http:…@…", "@").map(SourcePlace::Http),
        Some(("consul", url)) => consul_source::read(place, url).map(SourcePlace::Consul),
        Some(("etcd", place_of)) => etcd_source::read(place, place_of).map(SourcePlace::Etcd),
        Some(("kubernetes", of)) => kubernetes_source::read(place, of).map(SourcePlace::Kubernetes),
        Some(("lua", script)) => lua_source::read(place, script).map(SourcePlace::Lua),
        _ => wrong(EXAMPLES.to_owned()),
    }
}

/// Names of the keys of this kind alone.
pub(super) fn keys(of: &SourcePlace) -> &'static [&'static str] {
    match of {
        SourcePlace::File(_) => &[],
        SourcePlace::Dns(_) => dns_source::KEYS,
        SourcePlace::Http(_) => http_source::KEYS,
        SourcePlace::Consul(_) => consul_source::KEYS,
        SourcePlace::Etcd(_) => etcd_source::KEYS,
        SourcePlace::Kubernetes(_) => kubernetes_source::KEYS,
        SourcePlace::Lua(_) => lua_source::KEYS,
    }
}

/// Takes a key, if it is one of this kind's.
pub(super) fn set(to: &mut SourcePlace, key: &str, value: &str) -> Result<bool, ParseError> {
    match to {
        SourcePlace::File(_) => Ok(false),
        SourcePlace::Dns(of) => dns_source::set(of, key, value),
        SourcePlace::Http(of) => http_source::set(of, key, value),
        SourcePlace::Consul(of) => consul_source::set(of, key, value),
        SourcePlace::Etcd(of) => etcd_source::set(of, key, value),
        SourcePlace::Kubernetes(of) => kubernetes_source::set(of, key, value),
        SourcePlace::Lua(of) => lua_source::set(of, key, value),
    }
}

/// Looks whether all keys fit together.
pub(super) fn check(of: &SourcePlace) -> Result<(), ParseError> {
    match of {
        SourcePlace::File(_) | SourcePlace::Lua(_) => Ok(()),
        SourcePlace::Dns(of) => dns_source::check(of),
        SourcePlace::Http(of) => http_source::check(of),
        SourcePlace::Consul(of) => consul_source::check(of),
        SourcePlace::Etcd(of) => etcd_source::check(of),
        SourcePlace::Kubernetes(of) => kubernetes_source::check(of),
    }
}

impl SourcePlace {
    /// The files that it needs beside its list, by their keys; relative paths are below ServerRoot.
    pub fn files(&self) -> Vec<(&'static str, &str)> {
        let all = match self {
            SourcePlace::File(_) | SourcePlace::Dns(_) | SourcePlace::Lua(_) => Vec::new(),
            SourcePlace::Http(of) => vec![("bearer_file", &of.bearer_file), ("ca", &of.ca)],
            SourcePlace::Consul(of) => vec![("token_file", &of.token_file), ("ca", &of.ca)],
            SourcePlace::Etcd(of) => {
                let EtcdPlace { password_file, ca, cert, key, .. } = of;
                vec![("password_file", password_file), ("ca", ca), ("cert", cert), ("key", key)]
            }
            SourcePlace::Kubernetes(of) => vec![("token_file", &of.token_file), ("ca", &of.ca)],
        };
        all.into_iter().filter_map(|(key, file)| Some((key, file.as_deref()?))).collect()
    }

    /// The keys of its kind alone that are not at their defaults, as they are written.
    pub fn keys(&self) -> Vec<(&'static str, String)> {
        match self {
            SourcePlace::File(_) => Vec::new(),
            SourcePlace::Dns(of) => dns_source::written(of),
            SourcePlace::Http(of) => http_source::written(of),
            SourcePlace::Consul(of) => consul_source::written(of),
            SourcePlace::Etcd(of) => etcd_source::written(of),
            SourcePlace::Kubernetes(of) => kubernetes_source::written(of),
            SourcePlace::Lua(of) => lua_source::written(of),
        }
    }
}
