// SPDX-License-Identifier: Apache-2.0
//! What a child's answers are made of. It is the same in every child.

use std::rc::Rc;
use std::time::SystemTime;

use balance::api::Balancer;
use balance::engine::Handle;
use balance::snapshot::Snapshot;
use control::{Facts, House, Level};
use table::Table;

use crate::httpd::{digest, log};
use crate::serve::child::{Child, Thread};
use crate::serve::snapshot;

/// A child, on one of its threads.
pub struct ChildHouse {
    child: &'static Child,
    balancer: Rc<Handle<Table>>,
}

impl ChildHouse {
    /// With what this thread has.
    pub fn new(child: &'static Child, thread: &Thread) -> Self {
        ChildHouse { child, balancer: thread.balancer.clone() }
    }
}

impl House for ChildHouse {
    fn snapshot(&self) -> Snapshot {
        snapshot::of(self.child)
    }

    fn balancer(&self) -> &dyn Balancer {
        self.balancer.as_ref()
    }

    fn facts(&self) -> Facts {
        Facts {
            version: env!("CARGO_PKG_VERSION"),
            httpd: digest::server_version(),
            lua: script::LUA_RELEASE,
            generation: self.child.table.generation(),
            started_s: self.child.doors.started_s,
        }
    }

    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn log(&self, level: Level, line: &str) {
        let level = match level {
            Level::Notice => log::NOTICE,
            Level::Warning => log::WARNING,
        };
        log::server(level, line);
    }
}
