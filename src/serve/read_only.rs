// SPDX-License-Identifier: Apache-2.0
//! httpd as a script sees it whose call is an explanation, or a shadow's: what it writes into
//! dictionaries is seen by this call alone, and what it logs by nobody.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

use script::host::{
    Dict, Digest, Field, Level, Location, NO_REQUEST, Number, Request, RequestTable, Search, Server,
    SharedValues,
};
use script::offline::Overlay;
use script::rules;

use super::host::{CurrentRequest, HttpdServer};

/// Most values of `r:ivm_set` that are kept for a call.
const MOST_VALUES: usize = 1000;

/// The server.
pub struct ReadOnlyServer {
    server: HttpdServer,
    overlays: RefCell<HashMap<String, Rc<Overlay>>>,
    values: Rc<ValuesOverlay>,
}

/// Values of `r:ivm_set` by key; None: removed.
type WrittenValues = HashMap<Vec<u8>, Option<Vec<u8>>>;

/// `r:ivm_set` over what is there.
struct ValuesOverlay {
    below: Rc<dyn SharedValues>,
    written: RefCell<WrittenValues>,
}

impl SharedValues for ValuesOverlay {
    fn get(&self, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>)) {
        let written = self.written.borrow().get(key).cloned();
        match written {
            Some(value) => f(value.as_deref()),
            None => self.below.get(key, f),
        }
    }

    fn set(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        let mut written = self.written.borrow_mut();
        if written.len() >= MOST_VALUES && !written.contains_key(key) {
            return Err("no room for another value in a call that changes nothing".to_owned());
        }
        written.insert(key.to_vec(), value.map(<[u8]>::to_vec));
        Ok(())
    }
}

impl ReadOnlyServer {
    /// Over the real one.
    pub fn over(server: HttpdServer) -> Self {
        let values = Rc::new(ValuesOverlay { below: server.shared(), written: RefCell::default() });
        ReadOnlyServer { server, overlays: RefCell::default(), values }
    }

    /// Forgets what was written. Scripts may have kept the dictionaries that they have found.
    pub fn forget(&self) {
        self.overlays.borrow().values().for_each(|overlay| overlay.forget());
        self.values.written.borrow_mut().clear();
    }
}

impl Server for ReadOnlyServer {
    fn log(&self, _: Level, _: &str) {}

    fn logs(&self, _: Level) -> bool {
        false
    }

    fn now(&self) -> f64 {
        self.server.now()
    }

    fn time(&self) -> f64 {
        self.server.time()
    }

    fn shared(&self) -> Rc<dyn SharedValues> {
        self.values.clone()
    }

    fn dict(&self, name: &str) -> Option<Rc<dyn Dict>> {
        if let Some(known) = self.overlays.borrow().get(name) {
            return Some(known.clone());
        }
        let overlay = Rc::new(Overlay::over(self.server.dict(name)?));
        self.overlays.borrow_mut().insert(name.to_owned(), overlay.clone());
        Some(overlay)
    }

    fn geo(&self, address: &str) -> Result<Option<Location>, String> {
        self.server.geo(address)
    }

    fn worker(&self) -> u32 {
        self.server.worker()
    }

    fn workers(&self) -> u32 {
        self.server.workers()
    }

    fn is_defined(&self, name: &str) -> bool {
        self.server.is_defined(name)
    }

    fn looks_at(&self, path: &Path) {
        self.server.looks_at(path);
    }

    fn account(&self) -> Option<String> {
        self.server.account()
    }
}

/// A request that is sent nowhere, with what was asked of it that nobody knows: a described one, or
/// the copy that a shadow gets.
pub struct UnsentFields {
    /// The request.
    pub current: Rc<CurrentRequest>,
    /// Somebody has asked for a variable of TLS.
    pub asked_tls: Cell<bool>,
    /// Somebody has asked for the body.
    pub asked_body: Cell<bool>,
    /// Grows with every call.
    call: Cell<u64>,
}

impl UnsentFields {
    /// The fields of this thread's request.
    pub fn of(current: Rc<CurrentRequest>) -> Self {
        UnsentFields {
            current,
            asked_tls: Cell::new(false),
            asked_body: Cell::new(false),
            call: Cell::new(0),
        }
    }

    /// Another call begins: nothing is kept of the one before, even if its copy of the request was
    /// at the same place in memory.
    pub fn begin(&self) {
        self.call.set(self.call.get().wrapping_add(1));
    }

    /// Notes that an expression is evaluated.
    pub fn looks_at(&self, expression: &str) {
        if expression.contains("SSL") || expression.contains("%{HTTPS}") {
            self.asked_tls.set(true);
        }
    }
}

impl Request for UnsentFields {
    fn active(&self) -> bool {
        self.current.active()
    }

    fn field(&self, field: Field, f: &mut dyn FnMut(Option<&[u8]>)) {
        self.current.field(field, f);
    }

    fn set_field(&self, field: Field, value: Option<&[u8]>) -> Result<(), String> {
        self.current.set_field(field, value)
    }

    fn number(&self, field: Number) -> i64 {
        self.current.number(field)
    }

    fn set_number(&self, field: Number, value: i64) -> Result<(), String> {
        self.current.set_number(field, value)
    }

    fn get(&self, table: RequestTable, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>)) {
        Request::get(&*self.current, table, key, f);
    }

    fn set(&self, table: RequestTable, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        self.current.set(table, key, value)
    }

    fn add(&self, table: RequestTable, key: &[u8], value: &[u8]) -> Result<(), String> {
        self.current.add(table, key, value)
    }

    fn each(&self, table: RequestTable, f: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        self.current.each(table, f);
    }

    /// The body is nobody's, or the backend's.
    fn body(&self, _: usize, f: &mut dyn FnMut(Option<&[u8]>)) {
        self.asked_body.set(true);
        f(None);
    }

    fn ssl_var(&self, name: &str) -> Option<Vec<u8>> {
        self.asked_tls.set(true);
        self.current.ssl_var(name)
    }

    fn construct_url(&self, path: &[u8]) -> Vec<u8> {
        self.current.construct_url(path)
    }

    fn expr(&self, expression: &str, restricted: bool) -> Result<bool, String> {
        self.looks_at(expression);
        self.current.expr(expression, restricted)
    }

    fn expr_word(&self, word: &str, restricted: bool) -> Result<Vec<u8>, String> {
        self.looks_at(word);
        self.current.expr_word(word, restricted)
    }

    fn regex(&self, search: &Search<'_>) -> Result<Option<Vec<Option<Vec<u8>>>>, String> {
        self.current.regex(search)
    }

    fn regex_each(
        &self,
        search: &Search<'_>,
        f: &mut dyn FnMut(Vec<Option<Range<usize>>>) -> bool,
    ) -> Result<Vec<(usize, String)>, String> {
        self.current.regex_each(search, f)
    }

    fn digest(&self, kind: Digest, data: &[u8]) -> Vec<u8> {
        self.current.digest(kind, data)
    }

    fn expr_text(&self, expression: &str) -> Result<Vec<u8>, String> {
        self.looks_at(expression);
        self.current.expr_text(expression)
    }

    fn serial(&self) -> u64 {
        self.current.serial().wrapping_add(self.call.get().wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn server_addr(&self) -> Option<String> {
        self.current.server_addr()
    }

    /// Nobody is answered.
    fn custom_response(&self, _: u16, text: &[u8]) -> Result<(), String> {
        if self.current.active() {
            rules::check_text("the text", text, b"\0")
        } else {
            Err(NO_REQUEST.into())
        }
    }
}
