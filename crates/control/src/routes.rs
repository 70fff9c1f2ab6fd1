// SPDX-License-Identifier: Apache-2.0
//! The table of URLs.

use crate::problem::{Problem, shown};
use crate::query::decoded;

/// A method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

/// The target of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Endpoint {
    Page,
    Asset,
    Links,
    OpenApi,
    Status,
    Pools,
    Pool,
    Members,
    Member,
    History,
    Batch,
    Events,
    Decisions,
    Explain,
    Scripts,
    Dicts,
    Discovery,
    DiscoveryRefresh,
    DiscoveryAccept,
    Children,
    State,
    StatePrune,
    Health,
    Metrics,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct ApiRoute {
    /// Names in braces stand for one piece of the path each.
    pub path: &'static str,
    /// Its target.
    pub target: Endpoint,
    /// With what is said of each in the API's description.
    pub methods: &'static [(Verb, &'static str)],
}

const fn to(path: &'static str, target: Endpoint, methods: &'static [(Verb, &'static str)]) -> ApiRoute {
    ApiRoute { path, target, methods }
}

/// All URLs.
pub const ROUTES: &[ApiRoute] = &[
    to("/", Endpoint::Page, &[(Verb::Get, "The page; with Accept: text/plain a table, one line a member.")]),
    to("/assets/{file}", Endpoint::Asset, &[(Verb::Get, "A part of the page.")]),
    to("/api/v1/", Endpoint::Links, &[(Verb::Get, "Where everything is.")]),
    to("/api/v1/openapi.json", Endpoint::OpenApi, &[(Verb::Get, "This description.")]),
    to("/api/v1/status", Endpoint::Status, &[(Verb::Get, "The server, and what somebody should look at.")]),
    to("/api/v1/pools", Endpoint::Pools, &[(Verb::Get, "All pools with their members.")]),
    to("/api/v1/pools/{pool}", Endpoint::Pool, &[(Verb::Get, "A pool with its members.")]),
    to(
        "/api/v1/pools/{pool}/members",
        Endpoint::Members,
        &[
            (Verb::Get, "The members of a pool."),
            (Verb::Post, "Adds a member."),
            (Verb::Put, "Makes the pool have these members; applies the difference."),
        ],
    ),
    to(
        "/api/v1/pools/{pool}/members/{member}",
        Endpoint::Member,
        &[
            (Verb::Get, "A member."),
            (Verb::Patch, "Changes a member, as a JSON merge patch."),
            (Verb::Delete, "Removes a member."),
        ],
    ),
    to(
        "/api/v1/pools/{pool}/history",
        Endpoint::History,
        &[(Verb::Get, "How the pool did in the last ten minutes, and in the last day.")],
    ),
    to("/api/v1/batch", Endpoint::Batch, &[(Verb::Post, "Several changes, all or none of them.")]),
    to(
        "/api/v1/explain",
        Endpoint::Explain,
        &[(Verb::Post, "The decision that a described request would get. Changes nothing.")],
    ),
    to(
        "/api/v1/events",
        Endpoint::Events,
        &[(Verb::Get, "Changes, oldest first; with wait= as soon as there is one.")],
    ),
    to(
        "/api/v1/decisions",
        Endpoint::Decisions,
        &[(Verb::Get, "Where sampled requests went, oldest first.")],
    ),
    to("/api/v1/scripts", Endpoint::Scripts, &[(Verb::Get, "All scripts.")]),
    to("/api/v1/dicts", Endpoint::Dicts, &[(Verb::Get, "All dictionaries.")]),
    to("/api/v1/discovery", Endpoint::Discovery, &[(Verb::Get, "All sources of members.")]),
    to(
        "/api/v1/discovery/{pool}/{source}/refresh",
        Endpoint::DiscoveryRefresh,
        &[(Verb::Post, "Asks a source now.")],
    ),
    to(
        "/api/v1/discovery/{pool}/{source}/accept",
        Endpoint::DiscoveryAccept,
        &[(Verb::Post, "Takes the list of a source that is held.")],
    ),
    to("/api/v1/children", Endpoint::Children, &[(Verb::Get, "All children.")]),
    to(
        "/api/v1/state",
        Endpoint::State,
        &[(Verb::Get, "The state file as it is, and what a start would make of it.")],
    ),
    to(
        "/api/v1/state/prune",
        Endpoint::StatePrune,
        &[(Verb::Post, "Leaves out of the state file what no start would take.")],
    ),
    to("/health", Endpoint::Health, &[(Verb::Get, "Whether the server, or a pool, is well.")]),
    to("/metrics", Endpoint::Metrics, &[(Verb::Get, "Metrics for Prometheus.")]),
];

impl Verb {
    /// By its name; HEAD is a GET.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "GET" | "HEAD" => Verb::Get,
            "POST" => Verb::Post,
            "PUT" => Verb::Put,
            "PATCH" => Verb::Patch,
            "DELETE" => Verb::Delete,
            _ => return None,
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Post => "POST",
            Verb::Put => "PUT",
            Verb::Patch => "PATCH",
            Verb::Delete => "DELETE",
        }
    }
}

impl ApiRoute {
    /// For `Allow`.
    pub fn allow(&self) -> String {
        let mut names = Vec::with_capacity(self.methods.len() + 2);
        for (method, _) in self.methods {
            names.push(method.name());
            if *method == Verb::Get {
                names.push("HEAD");
            }
        }
        names.push("OPTIONS");
        names.join(", ")
    }

    /// Whether it has this method.
    pub fn has(&self, method: Verb) -> bool {
        self.methods.iter().any(|(known, _)| *known == method)
    }

    /// The names in place of those in braces, if the path fits.
    fn fit<'p>(&self, path: &'p str) -> Option<Vec<&'p str>> {
        let (mut own, mut theirs) = (self.path.split('/'), path.split('/'));
        let mut found = Vec::new();
        loop {
            match (own.next(), theirs.next()) {
                (None, None) => return Some(found),
                (Some(name), Some(piece)) if name.starts_with('{') && !piece.is_empty() => found.push(piece),
                (Some(name), Some(piece)) if name == piece => {}
                _ => return None,
            }
        }
    }
}

/// The row of a path, and what stands in place of its names.
pub(crate) fn find(path: &str) -> Result<(&'static ApiRoute, Vec<String>), Problem> {
    let found = ROUTES.iter().find_map(|route| Some((route, route.fit(path)?)));
    let (route, pieces) =
        found.ok_or_else(|| Problem::new(404, format!("{}: there is nothing here", shown(path))))?;
    let pieces = pieces.into_iter().map(decoded).collect::<Result<_, _>>()?;
    Ok((route, pieces))
}
