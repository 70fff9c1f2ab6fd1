// SPDX-License-Identifier: Apache-2.0
//! The network of clients on one thread: names, connections, TLS and HTTP/1.1, for checks, sources
//! of members and requests of scripts. It knows no member and decides nothing.
#![forbid(unsafe_code)]

mod dial;
mod failure;
mod link;
mod resolve;
mod tls;
mod url;

pub use dial::{Duplex, Reach, Stream, handshake};
pub use failure::{Failure, Stage, hidden, io_words, printable};
pub use link::{Link, Payload, was_dead, words};
pub use resolve::{Lookup, Resolver, THREADS, system};
pub use tls::{TlsConfigs, check_ca};
pub use url::HttpTarget;
