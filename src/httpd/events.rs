// SPDX-License-Identifier: Apache-2.0
//! The events of pools and members, as lines of the log.

use balance::event::{Event, Level, MemberEvent};

use super::log;

/// One line for an event.
pub fn tell(event: &Event) {
    let level = match event.level() {
        Level::Warning => log::WARNING,
        Level::Notice => log::NOTICE,
        Level::Debug => log::DEBUG,
    };
    if level < log::DEBUG || log::logs_server(level) {
        log::server(level, &event.to_string());
    }
}

/// A line for each event of members.
pub fn tell_all(events: impl IntoIterator<Item = MemberEvent>) {
    events.into_iter().for_each(|event| tell(&event.into()));
}
