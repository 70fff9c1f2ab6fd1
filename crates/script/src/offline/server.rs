// SPDX-License-Identifier: Apache-2.0
//! The server at large, without one.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::rc::Rc;

use super::{Clock, PlainDict, PlainValues};
use crate::host::{Dict, Level, Location, NO_DATABASE, Server, SharedValues};

/// Says where an address is, as databases do; Err: why they cannot.
pub type GeoLookup = dyn Fn(IpAddr) -> Result<Option<Location>, String>;

/// Collects what is logged, and has what it was given.
pub struct PlainServer {
    clock: Rc<Clock>,
    level: Cell<Level>,
    lines: RefCell<Vec<(Level, String)>>,
    values: Rc<PlainValues>,
    dicts: RefCell<BTreeMap<String, Rc<PlainDict>>>,
    /// None: there is no database.
    places: RefCell<Option<BTreeMap<String, Location>>>,
    databases: RefCell<Option<Rc<GeoLookup>>>,
    defines: RefCell<BTreeSet<String>>,
}

impl Default for PlainServer {
    fn default() -> Self {
        PlainServer::new(Rc::default())
    }
}

impl PlainServer {
    /// One that goes by this clock, logs up to debug, and has nothing else yet.
    pub fn new(clock: Rc<Clock>) -> Self {
        PlainServer {
            clock,
            level: Cell::new(7),
            lines: RefCell::default(),
            values: Rc::default(),
            dicts: RefCell::default(),
            places: RefCell::default(),
            databases: RefCell::default(),
            defines: RefCell::default(),
        }
    }

    /// Its clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Logs up to this level from now on.
    pub fn set_level(&self, level: Level) {
        self.level.set(level);
    }

    /// As `LuaBalancerDict name size`.
    pub fn add_dict(&self, name: &str, size: usize) {
        let dict = PlainDict::new(self.clock.clone(), size);
        self.dicts.borrow_mut().insert(name.to_owned(), Rc::new(dict));
    }

    /// A database that knows this address, and those that were added before. None: one that knows
    /// it not.
    pub fn add_place(&self, address: &str, place: Option<Location>) {
        let mut places = self.places.borrow_mut();
        let places = places.get_or_insert_default();
        match place {
            Some(place) => drop(places.insert(address.to_owned(), place)),
            None => drop(places.remove(address)),
        }
    }

    /// Asks this about addresses that were not added.
    pub fn ask_databases(&self, lookup: Rc<GeoLookup>) {
        self.databases.replace(Some(lookup));
    }

    /// As `-D name`.
    pub fn define(&self, name: &str) {
        self.defines.borrow_mut().insert(name.to_owned());
    }

    /// Everything logged so far, with its level.
    pub fn lines(&self) -> Vec<(Level, String)> {
        self.lines.borrow().clone()
    }

    /// Takes what was logged so far.
    pub fn take_lines(&self) -> Vec<(Level, String)> {
        self.lines.take()
    }
}

impl Server for PlainServer {
    fn log(&self, level: Level, text: &str) {
        self.lines.borrow_mut().push((level, text.to_owned()));
    }

    fn logs(&self, level: Level) -> bool {
        level <= self.level.get()
    }

    fn now(&self) -> f64 {
        self.clock.now()
    }

    fn time(&self) -> f64 {
        self.clock.time()
    }

    fn shared(&self) -> Rc<dyn SharedValues> {
        self.values.clone()
    }

    fn dict(&self, name: &str) -> Option<Rc<dyn Dict>> {
        let dict = self.dicts.borrow().get(name)?.clone();
        Some(dict)
    }

    fn geo(&self, address: &str) -> Result<Option<Location>, String> {
        let (places, databases) = (self.places.borrow(), self.databases.borrow().clone());
        if places.is_none() && databases.is_none() {
            return Err(NO_DATABASE.to_owned());
        }
        let bare = address.split_once('%').map_or(address, |(bare, _)| bare);
        let parsed = bare.parse::<IpAddr>().map_err(|_| {
            format!(
                "lb.geo: '{}' is not an IP address: expected one such as r.useragent_ip",
                address.escape_debug()
            )
        })?;
        match (places.as_ref().and_then(|places| places.get(bare)), databases) {
            (Some(place), _) => Ok(Some(place.clone())),
            (None, Some(lookup)) => lookup(parsed),
            (None, None) => Ok(None),
        }
    }

    fn worker(&self) -> u32 {
        0
    }

    fn workers(&self) -> u32 {
        1
    }

    fn is_defined(&self, name: &str) -> bool {
        self.defines.borrow().contains(name)
    }

    fn looks_at(&self, _path: &Path) {}

    fn account(&self) -> Option<String> {
        None
    }
}
