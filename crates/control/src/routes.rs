// SPDX-License-Identifier: Apache-2.0
//! The table of URLs.

use crate::problem::{Problem, shown};
use crate::query::decoded;

/// A method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

/// What a URL leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Target {
    Page,
    Asset,
    Links,
    OpenApi,
    Status,
    Pools,
    Pool,
    Members,
    Member,
    Batch,
    Scripts,
    Dicts,
    Children,
    Health,
    Metrics,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// Names in braces stand for one piece of the path each.
    pub path: &'static str,
    /// What it leads to.
    pub target: Target,
    /// With what is said of each in the API's description.
    pub methods: &'static [(Method, &'static str)],
}

const fn to(path: &'static str, target: Target, methods: &'static [(Method, &'static str)]) -> Route {
    Route { path, target, methods }
}

/// All URLs.
pub const ROUTES: &[Route] = &[
    to("/", Target::Page, &[(Method::Get, "The page; with Accept: text/plain a table, one line a member.")]),
    to("/assets/{file}", Target::Asset, &[(Method::Get, "A part of the page.")]),
    to("/api/v1/", Target::Links, &[(Method::Get, "Where everything is.")]),
    to("/api/v1/openapi.json", Target::OpenApi, &[(Method::Get, "This description.")]),
    to("/api/v1/status", Target::Status, &[(Method::Get, "The server, and what somebody should look at.")]),
    to("/api/v1/pools", Target::Pools, &[(Method::Get, "All pools with their members.")]),
    to("/api/v1/pools/{pool}", Target::Pool, &[(Method::Get, "A pool with its members.")]),
    to(
        "/api/v1/pools/{pool}/members",
        Target::Members,
        &[
            (Method::Get, "The members of a pool."),
            (Method::Post, "Adds a member."),
            (Method::Put, "Makes the pool have these members; applies the difference."),
        ],
    ),
    to(
        "/api/v1/pools/{pool}/members/{member}",
        Target::Member,
        &[
            (Method::Get, "A member."),
            (Method::Patch, "Changes a member, as a JSON merge patch."),
            (Method::Delete, "Removes a member."),
        ],
    ),
    to("/api/v1/batch", Target::Batch, &[(Method::Post, "Several changes, all or none of them.")]),
    to("/api/v1/scripts", Target::Scripts, &[(Method::Get, "All scripts.")]),
    to("/api/v1/dicts", Target::Dicts, &[(Method::Get, "All dictionaries.")]),
    to("/api/v1/children", Target::Children, &[(Method::Get, "All children.")]),
    to("/health", Target::Health, &[(Method::Get, "Whether the server, or a pool, is well.")]),
    to("/metrics", Target::Metrics, &[(Method::Get, "Metrics for Prometheus.")]),
];

impl Method {
    /// By its name; HEAD is a GET.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "GET" | "HEAD" => Method::Get,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "PATCH" => Method::Patch,
            "DELETE" => Method::Delete,
            _ => return None,
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

impl Route {
    /// For `Allow`.
    pub fn allow(&self) -> String {
        let mut names = Vec::with_capacity(self.methods.len() + 2);
        for (method, _) in self.methods {
            names.push(method.name());
            if *method == Method::Get {
                names.push("HEAD");
            }
        }
        names.push("OPTIONS");
        names.join(", ")
    }

    /// Whether it has this method.
    pub fn has(&self, method: Method) -> bool {
        self.methods.iter().any(|(known, _)| *known == method)
    }

    /// What stands in place of the names in braces, if the path fits.
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
pub(crate) fn find(path: &str) -> Result<(&'static Route, Vec<String>), Problem> {
    let found = ROUTES.iter().find_map(|route| Some((route, route.fit(path)?)));
    let (route, pieces) =
        found.ok_or_else(|| Problem::new(404, format!("{}: there is nothing here", shown(path))))?;
    let pieces = pieces.into_iter().map(decoded).collect::<Result<_, _>>()?;
    Ok((route, pieces))
}
