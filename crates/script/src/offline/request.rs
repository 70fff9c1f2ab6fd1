// SPDX-License-Identifier: Apache-2.0
//! A request made from data.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;

use super::tables::Pairs;
use super::{digest, expression, pattern};
use crate::host::{Digest, Field, NO_REQUEST, Number, Request, RequestTable, Search};
use crate::rules;
use crate::strings::text::unescape_with;

/// A request, or the place where one is while it is handled. The changes of a script are read back
/// from it afterwards.
#[derive(Debug, Default)]
pub struct PlainRequest {
    active: Cell<bool>,
    serial: Cell<u64>,
    fields: RefCell<Vec<(Field, Vec<u8>)>>,
    numbers: RefCell<Vec<(Number, i64)>>,
    tables: RefCell<Vec<(RequestTable, Pairs)>>,
    body: RefCell<Option<Vec<u8>>>,
    tls: RefCell<BTreeMap<String, Vec<u8>>>,
    verdicts: RefCell<BTreeMap<String, bool>>,
    pages: RefCell<BTreeMap<u16, Vec<u8>>>,
    server_addr: RefCell<Option<String>>,
}

impl PlainRequest {
    /// A place without a request.
    pub fn none() -> Self {
        PlainRequest::default()
    }

    /// A request with this method and target, as a client of this machine sends it over plain
    /// HTTP/1.1.
    pub fn new(method: &str, target: &str) -> Self {
        let request = PlainRequest::default();
        request.begin(method, target);
        request
    }

    /// Puts a new request in the place of what was there.
    pub fn begin(&self, method: &str, target: &str) {
        self.fields.take();
        self.numbers.take();
        self.tables.take();
        self.body.take();
        self.pages.take();
        self.serial.set(self.serial.get() + 1);
        self.active.set(true);
        self.server_addr.replace(Some("127.0.0.1".into()));
        let (path, args) = target.split_once('?').map_or((target, None), |(path, args)| (path, Some(args)));
        self.put(Field::Method, method);
        self.put(Field::Uri, unescape_with(path.as_bytes(), false));
        self.put(Field::UnparsedUri, target);
        if let Some(args) = args {
            self.put(Field::Args, args);
        }
        self.put(Field::Protocol, "HTTP/1.1");
        self.put(Field::TheRequest, format!("{method} {target} HTTP/1.1"));
        self.put(Field::UseragentIp, "127.0.0.1");
        self.put(Field::Scheme, "http");
        self.put(Field::DocumentRoot, "/var/www/html");
        self.put(Field::ContextDocumentRoot, "/var/www/html");
        self.put(Field::ContextPrefix, "");
        self.put(Field::Banner, "Apache");
        self.put(Field::Range, "");
        for (number, value) in
            [(Number::Port, 80), (Number::ClientPort, 50_000), (Number::Status, 200), (Number::IsInitial, 1)]
        {
            self.count(number, value);
        }
    }

    /// Ends the request: what is asked of it is "no request here".
    pub fn end(&self) {
        self.active.set(false);
    }

    /// The same place with a header more; `Host` names the server as well.
    #[must_use]
    pub fn with_header(self, key: &str, value: &str) -> Self {
        self.header(key, value);
        self
    }

    /// The same place with a body.
    #[must_use]
    pub fn with_body(self, body: &[u8]) -> Self {
        self.body.replace(Some(body.to_vec()));
        self
    }

    /// A header of the client; `Host` names the server as well.
    pub fn header(&self, key: &str, value: &str) {
        if key.eq_ignore_ascii_case("Host") {
            let (name, port) = value.rsplit_once(':').unwrap_or((value, "80"));
            self.put(Field::Hostname, name);
            self.put(Field::ServerName, name);
            self.count(Number::Port, port.parse().unwrap_or(80));
        }
        // Lines of one name become one, as httpd reads them.
        self.table(RequestTable::HeadersIn, |pairs| match pairs.get(key.as_bytes()).map(<[u8]>::to_vec) {
            Some(before) => {
                pairs.set(key.as_bytes(), &[&before, b", ".as_slice(), value.as_bytes()].concat())
            }
            None => pairs.add(key.as_bytes(), value.as_bytes()),
        });
    }

    /// Sets a field, whether a script may or not.
    pub fn put(&self, field: Field, value: impl Into<Vec<u8>>) {
        let mut fields = self.fields.borrow_mut();
        fields.retain(|(known, _)| *known != field);
        fields.push((field, value.into()));
    }

    /// Sets a number, whether a script may or not.
    pub fn count(&self, field: Number, value: i64) {
        let mut numbers = self.numbers.borrow_mut();
        numbers.retain(|(known, _)| *known != field);
        numbers.push((field, value));
    }

    /// The body that came with it.
    pub fn put_body(&self, body: &[u8]) {
        self.body.replace(Some(body.to_vec()));
    }

    /// A variable of TLS.
    pub fn put_tls(&self, name: &str, value: &str) {
        self.tls.borrow_mut().insert(name.to_owned(), value.into());
    }

    /// Sets the verdict on an expression that this host cannot evaluate itself.
    pub fn put_verdict(&self, expression: &str, verdict: bool) {
        self.verdicts.borrow_mut().insert(expression.to_owned(), verdict);
    }

    /// A field as it is now.
    pub fn bytes(&self, field: Field) -> Option<Vec<u8>> {
        let fields = self.fields.borrow();
        fields.iter().find(|(known, _)| *known == field).map(|(_, value)| value.clone())
    }

    /// A field as text.
    pub fn text(&self, field: Field) -> Option<String> {
        self.bytes(field).map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    /// The first value of a key.
    pub fn bytes_of(&self, table: RequestTable, key: &str) -> Option<Vec<u8>> {
        self.table(table, |pairs| pairs.get(key.as_bytes()).map(<[u8]>::to_vec))
    }

    /// The first value of a key as text.
    pub fn value(&self, table: RequestTable, key: &str) -> Option<String> {
        self.bytes_of(table, key).map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    /// The page that [`Request::custom_response`] has set for a status.
    pub fn page(&self, status: u16) -> Option<Vec<u8>> {
        self.pages.borrow().get(&status).cloned()
    }

    fn table<T>(&self, table: RequestTable, f: impl FnOnce(&mut Pairs) -> T) -> T {
        let mut tables = self.tables.borrow_mut();
        if let Some((_, pairs)) = tables.iter_mut().find(|(known, _)| *known == table) {
            return f(pairs);
        }
        let mut pairs = Pairs::default();
        let done = f(&mut pairs);
        tables.push((table, pairs));
        done
    }

    fn here(&self) -> Result<(), String> {
        if self.active.get() { Ok(()) } else { Err(NO_REQUEST.into()) }
    }
}

impl Request for PlainRequest {
    fn active(&self) -> bool {
        self.active.get()
    }

    fn field(&self, field: Field, f: &mut dyn FnMut(Option<&[u8]>)) {
        let value = self.bytes(field);
        f(value.as_deref());
    }

    fn set_field(&self, field: Field, value: Option<&[u8]>) -> Result<(), String> {
        self.here()?;
        rules::check_field(field, value)?;
        match value {
            Some(value) => self.put(field, value),
            None => self.fields.borrow_mut().retain(|(known, _)| *known != field),
        }
        Ok(())
    }

    fn number(&self, field: Number) -> i64 {
        let numbers = self.numbers.borrow();
        numbers.iter().find(|(known, _)| *known == field).map_or(0, |(_, value)| *value)
    }

    fn set_number(&self, field: Number, value: i64) -> Result<(), String> {
        self.here()?;
        self.count(field, i64::from(rules::check_number(field, value)?));
        Ok(())
    }

    fn get(&self, table: RequestTable, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>)) {
        let value = self.table(table, |pairs| pairs.get(key).map(<[u8]>::to_vec));
        f(value.as_deref());
    }

    fn set(&self, table: RequestTable, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        self.here()?;
        rules::check_pair(table, key, value.unwrap_or_default())?;
        self.table(table, |pairs| match value {
            Some(value) => pairs.set(key, value),
            None => pairs.unset(key),
        });
        Ok(())
    }

    fn add(&self, table: RequestTable, key: &[u8], value: &[u8]) -> Result<(), String> {
        self.here()?;
        rules::check_pair(table, key, value)?;
        self.table(table, |pairs| pairs.add(key, value));
        Ok(())
    }

    fn each(&self, table: RequestTable, f: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        let pairs = self.table(table, |pairs| pairs.clone());
        for (key, value) in pairs.iter() {
            if !f(key, value) {
                return;
            }
        }
    }

    fn body(&self, max: usize, f: &mut dyn FnMut(Option<&[u8]>)) {
        let body = self.body.borrow().clone();
        f(body.as_deref().map(|body| &body[..body.len().min(max)]));
    }

    fn ssl_var(&self, name: &str) -> Option<Vec<u8>> {
        self.tls.borrow().get(name).cloned()
    }

    fn construct_url(&self, path: &[u8]) -> Vec<u8> {
        let scheme = self.bytes(Field::Scheme).unwrap_or_default();
        let host = self.bytes(Field::ServerName).unwrap_or_default();
        let port = self.number(Number::Port);
        let is_usual = port == if scheme == b"https" { 443 } else { 80 };
        let port = if is_usual { String::new() } else { format!(":{port}") };
        [&scheme, b"://".as_slice(), &host, port.as_bytes(), path].concat()
    }

    fn expr(&self, text: &str, _restricted: bool) -> Result<bool, String> {
        self.here()?;
        match self.verdicts.borrow().get(text) {
            Some(verdict) => Ok(*verdict),
            None => expression::condition(self, text),
        }
    }

    fn expr_word(&self, word: &str, _restricted: bool) -> Result<Vec<u8>, String> {
        self.here()?;
        expression::text(self, word)
    }

    fn regex(&self, search: &Search<'_>) -> Result<Option<Vec<Option<Vec<u8>>>>, String> {
        self.here()?;
        pattern::groups(search.text, search.pattern, search.flags)
    }

    fn regex_each(
        &self,
        search: &Search<'_>,
        f: &mut dyn FnMut(Vec<Option<Range<usize>>>) -> bool,
    ) -> Result<Vec<(usize, String)>, String> {
        self.here()?;
        pattern::each((search.text, search.from), search.pattern, search.flags, f)
    }

    fn digest(&self, kind: Digest, data: &[u8]) -> Vec<u8> {
        match kind {
            Digest::Md5 => digest::md5(data),
            Digest::Sha1 => digest::sha1(data),
        }
    }

    fn expr_text(&self, text: &str) -> Result<Vec<u8>, String> {
        self.here()?;
        expression::text(self, text)
    }

    fn serial(&self) -> u64 {
        self.serial.get()
    }

    fn server_addr(&self) -> Option<String> {
        self.server_addr.borrow().clone()
    }

    fn custom_response(&self, status: u16, text: &[u8]) -> Result<(), String> {
        self.here()?;
        rules::check_text("the text", text, b"\0")?;
        self.pages.borrow_mut().insert(status, text.to_vec());
        Ok(())
    }
}
