// SPDX-License-Identifier: Apache-2.0
//! The rings and tables in which the hash methods look up keys. They depend on members and
//! configured weights alone: a member that goes down stays in them and is skipped, so that only its
//! own keys move, and they come back exactly.

use std::sync::{Arc, OnceLock};

use xxhash_rust::xxh64::Xxh64;

use super::index::Index;
use super::maglev;
use crate::member::Member;

/// Points on nginx's ring for each unit of weight.
pub const POINTS: u32 = 160;

/// Lazily built tables, shared by all threads.
#[derive(Debug)]
pub struct Rings {
    key: u64,
    nodes: Vec<Node>,
    /// For each node, the weights up to and with its own, hundredths.
    ends: Box<[u64]>,
    ends_index: Index,
    /// Sum of the configured weights, hundredths.
    pub(super) total: u64,
    ketama: OnceLock<Ketama>,
    maglev: OnceLock<Box<[u32]>>,
}

/// nginx's ring.
#[derive(Debug)]
struct Ketama {
    /// (point, member), sorted, each point once.
    points: Box<[(u32, u32)]>,
    index: Index,
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Index of the member.
    pub(super) member: u32,
    /// Configured weight, hundredths, > 0.
    pub(super) weight: u32,
    host: String,
    port: String,
    /// xxHash64 of `host:port`.
    pub(super) seed: u64,
}

impl Node {
    fn name(&self) -> String {
        if self.port.is_empty() { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }
}

impl Rings {
    /// A hash of what rings depend on.
    pub fn key_of(members: &[Arc<Member>], weights: &[u32]) -> u64 {
        let mut hash = Xxh64::new(0);
        for (member, weight) in members.iter().zip(weights) {
            hash.update(&member.slot.to_le_bytes());
            hash.update(&member.incarnation.to_le_bytes());
            hash.update(&weight.to_le_bytes());
        }
        hash.digest()
    }

    /// For these members and configured weights; those of weight 0 have no place.
    pub fn new(members: &[Arc<Member>], weights: &[u32], key: u64) -> Self {
        let nodes: Vec<Node> = members
            .iter()
            .zip(weights)
            .enumerate()
            .filter(|(_, (_, weight))| **weight > 0)
            .map(|(index, (member, &weight))| {
                let url = &member.spec.url;
                let (host, port) = match &url.socket {
                    Some(path) => (path.clone(), String::new()),
                    None => (url.host.clone(), url.port.to_string()),
                };
                let mut node = Node { member: index as u32, weight, host, port, seed: 0 };
                node.seed = xxhash_rust::xxh64::xxh64(node.name().as_bytes(), 0);
                node
            })
            .collect();
        let mut total = 0;
        let mut end = |node: &Node| {
            total += u64::from(node.weight);
            total
        };
        let ends: Box<[u64]> = nodes.iter().map(&mut end).collect();
        let ends_index = Index::new(ends.iter().copied(), total);
        Rings { key, nodes, ends, ends_index, total, ketama: OnceLock::new(), maglev: OnceLock::new() }
    }

    /// See [`Rings::key_of`].
    pub fn key(&self) -> u64 {
        self.key
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node at a place in the row of all weights.
    pub(super) fn node_at(&self, place: u64) -> Option<&Node> {
        let around = self.ends_index.around(place);
        let before = around.start;
        self.nodes.get(before + self.ends[around].partition_point(|end| *end <= place))
    }

    /// nginx's ring, and where in it the first point ≥ hash is; its length when there is none.
    pub(super) fn ketama_from(&self, hash: u32) -> (&[(u32, u32)], usize) {
        let Ketama { points, index } = self.made_ketama();
        let around = index.around(u64::from(hash));
        let before = around.start;
        (points, before + points[around].partition_point(|(point, _)| *point < hash))
    }

    fn made_ketama(&self) -> &Ketama {
        self.ketama.get_or_init(|| {
            let mut points: Vec<(u32, u32)> = self.nodes.iter().flat_map(points_of).collect();
            points.sort_by_key(|(point, _)| *point);
            points.dedup_by_key(|(point, _)| *point);
            let index = Index::new(points.iter().map(|(point, _)| u64::from(*point)), u64::from(u32::MAX));
            Ketama { points: points.into(), index }
        })
    }

    /// Envoy's Maglev table: slot → member.
    pub fn maglev(&self) -> &[u32] {
        self.maglev.get_or_init(|| {
            let mut nodes: Vec<(String, u32, u32)> =
                self.nodes.iter().map(|node| (node.name(), node.weight, node.member)).collect();
            nodes.sort();
            maglev::table(&nodes, maglev::SIZE)
        })
    }
}

/// Points of one server (nginx, ngx_http_upstream_hash_module): crc32 of host, NUL, port, and the
/// last point.
fn points_of(node: &Node) -> Vec<(u32, u32)> {
    let mut base = crc32fast::Hasher::new();
    base.update(node.host.as_bytes());
    base.update(b"\0");
    base.update(node.port.as_bytes());
    let count = (u64::from(node.weight) * u64::from(POINTS) / 100).max(1);
    let mut last = 0u32;
    (0..count)
        .map(|_| {
            let mut hash = base.clone();
            hash.update(&last.to_le_bytes());
            last = hash.finalize();
            (last, node.member)
        })
        .collect()
}
