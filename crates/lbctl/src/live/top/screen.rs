// SPDX-License-Identifier: Apache-2.0
//! The content of the picture, and the place of its cursor.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::super::change::MemberChange;
use super::super::model::{SeenMember, SeenPool};
use super::super::status::Seen;

/// How many rates a spark line has at most.
const RATES: usize = 120;
/// How many events are kept.
const EVENTS: usize = 50;

/// Something new.
pub enum News {
    /// How a server is, and what has happened there.
    Seen(usize, Box<Seen>, Vec<String>),
    /// A server does not answer.
    Away(usize, String),
    /// The result of an order.
    Said(String),
}

/// The meaning of keys at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// They walk and order.
    Walk,
    /// They write a weight for this member.
    Weigh(String, String),
    /// They say yes or no to this order.
    Confirm(MemberChange),
    /// They end the page of help.
    Help,
}

/// See the module.
pub struct Screen {
    /// Side by side.
    pub panels: Vec<Panel>,
    /// The one with the cursor.
    pub at: usize,
    /// Its row, among members.
    pub cursor: usize,
    /// The meaning of keys.
    pub mode: Mode,
    /// The last message.
    pub message: String,
    /// Whether there are colours.
    pub colours: bool,
}

/// A server.
pub struct Panel {
    /// Its name.
    pub name: String,
    /// How it was last.
    pub seen: Option<Seen>,
    /// Why it does not answer.
    pub away: Option<String>,
    /// The events, oldest first.
    pub events: VecDeque<String>,
    speeds: BTreeMap<String, Speed>,
}

/// Requests a second, of a pool or a member.
#[derive(Default)]
struct Speed {
    last: Option<(Instant, u64)>,
    rates: VecDeque<f64>,
}

impl Screen {
    /// The screen of these servers.
    pub fn new(names: impl Iterator<Item = String>, colours: bool) -> Self {
        let panel =
            |name| Panel { name, seen: None, away: None, events: VecDeque::new(), speeds: BTreeMap::new() };
        let panels = names.map(panel).collect();
        Screen { panels, at: 0, cursor: 0, mode: Mode::Walk, message: String::new(), colours }
    }

    /// Takes what is new.
    pub fn take(&mut self, news: News) {
        match news {
            News::Seen(at, seen, events) => {
                if let Some(panel) = self.panels.get_mut(at) {
                    panel.take(*seen, events);
                }
            }
            News::Away(at, why) => {
                if let Some(panel) = self.panels.get_mut(at) {
                    panel.away = Some(why);
                }
            }
            News::Said(text) => self.message = text,
        }
        self.cursor = self.cursor.min(self.members().len().saturating_sub(1));
    }

    /// The members of the panel with the cursor.
    pub fn members(&self) -> Vec<&SeenMember> {
        self.panels.get(self.at).map(Panel::members).unwrap_or_default()
    }

    /// The member under the cursor.
    pub fn chosen(&self) -> Option<&SeenMember> {
        self.members().get(self.cursor).copied()
    }

    /// The cursor goes so many rows.
    pub fn walk(&mut self, rows: isize) {
        let last = self.members().len().saturating_sub(1);
        self.cursor = self.cursor.saturating_add_signed(rows).min(last);
    }

    /// The next server has the cursor.
    pub fn next_panel(&mut self) {
        self.at = (self.at + 1) % self.panels.len().max(1);
        self.walk(0);
    }
}

impl Panel {
    fn take(&mut self, seen: Seen, events: Vec<String>) {
        let now = Instant::now();
        for pool in &seen.pools {
            self.speeds.entry(pool.name.clone()).or_default().take(now, pool.asked());
            for member in &pool.members {
                self.speeds.entry(member.full()).or_default().take(now, member.asked());
            }
        }
        self.events.extend(events);
        while self.events.len() > EVENTS {
            self.events.pop_front();
        }
        (self.seen, self.away) = (Some(seen), None);
    }

    /// Rates of a pool or member that nobody has measured.
    #[cfg(test)]
    pub fn pretend(&mut self, name: &str, rates: Vec<f64>) {
        self.speeds.insert(name.to_owned(), Speed { last: None, rates: rates.into() });
    }

    /// Its pools.
    pub fn pools(&self) -> &[SeenPool] {
        self.seen.as_ref().map_or(&[], |seen| &seen.pools)
    }

    /// Its members, pool after pool.
    pub fn members(&self) -> Vec<&SeenMember> {
        self.pools().iter().flat_map(|pool| &pool.members).collect()
    }

    /// Requests a second of a pool or a member, the newest last.
    pub fn rates(&self, name: &str) -> Vec<f64> {
        self.speeds.get(name).map(|speed| speed.rates.iter().copied().collect()).unwrap_or_default()
    }
}

impl Speed {
    fn take(&mut self, now: Instant, count: u64) {
        if let Some((then, before)) = self.last {
            let seconds = now.duration_since(then).as_secs_f64().max(0.001);
            // A server that was started anew counts from 0.
            self.rates.push_back(count.saturating_sub(before) as f64 / seconds);
            if self.rates.len() > RATES {
                self.rates.pop_front();
            }
        }
        self.last = Some((now, count));
    }
}
