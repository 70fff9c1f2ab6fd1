// SPDX-License-Identifier: Apache-2.0
//! A client of etcd through its HTTP and JSON gateway, with deadlines for everything that is asked,
//! and a copy of the keys below a prefix. It decides nothing about what the keys say.
#![forbid(unsafe_code)]

mod client;
mod copy;
mod error;
mod secret;
mod watch;
mod wire;

pub use client::{EtcdClient, EtcdPlaces};
pub use copy::{Copied, KeyCopy};
pub use error::EtcdError;
pub use watch::Watch;
pub use wire::{
    Compare, Granted, Header, KeyEvent, KeyValue, MOST, Operation, Range, RangeQuery, Transacted,
    Transaction, WatchAnswer, json_words, read_range, read_watch,
};
