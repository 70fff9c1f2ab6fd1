// SPDX-License-Identifier: Apache-2.0
//! Support for tests against a real httpd: a server, backends and clients that are plain values.
//!
//! Nothing here knows the module's insides. A test builds an [`Httpd`] with a configuration, gives
//! it [`Backend`]s whose bad behaviour is a method call, and talks to it through a raw [`Client`].
//! Every value owns its folder and ports and ends what it started when it is dropped, so tests run
//! in parallel.

pub mod acts;
pub mod asked;
pub mod backend;
pub mod certificate;
pub mod client;
pub mod dice;
pub mod etcd;
pub mod fake;
pub mod fronts;
pub mod httpd;
pub mod lbctl;
pub mod load;
pub mod lossy_way;
pub mod message;
pub mod module;
pub mod play;
pub mod pools;
pub mod ports;
pub mod socket;
pub mod wait;

pub use backend::Backend;
pub use client::{Client, ClientError, Request, Response, assert_says};
pub use dice::Dice;
pub use etcd::Etcd;
pub use fake::FakeServer;
pub use fronts::{front, wait_for_each_other};
pub use httpd::{Builder, Httpd, Mpm};
pub use lbctl::{Ended, ended, lbctl, lbctl_command};
pub use load::Load;
pub use lossy_way::LossyWay;
pub use play::Step;
pub use pools::pool;
pub use socket::SocketClient;
pub use wait::{eventually, patience, slower, wait_until};

/// Runs a scenario once for every MPM: `on_every_mpm!(refused_members_are_skipped);` turns the
/// function `fn refused_members_are_skipped(mpm: Mpm)` into the tests
/// `refused_members_are_skipped::event`, `…::worker` and `…::prefork`.
#[macro_export]
macro_rules! on_every_mpm {
    ($($scenario:ident),+ $(,)?) => {$(
        mod $scenario {
            #[test]
            fn event() {
                super::$scenario($crate::Mpm::Event);
            }
            #[test]
            fn worker() {
                super::$scenario($crate::Mpm::Worker);
            }
            #[test]
            fn prefork() {
                super::$scenario($crate::Mpm::Prefork);
            }
        }
    )+};
}
