// SPDX-License-Identifier: Apache-2.0
//! A request as a shadow sees it: as it would be if nobody had decided. Only this call sees the
//! shadow's own changes.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use script::host::{Digest, Field, NO_REQUEST, Number, Request as RequestHost, RequestTable, Search};
use script::rules;

use super::host::CurrentRequest;
use crate::httpd::request::PROXYREQ_NONE;

/// Bytes that a call may write.
const MOST: usize = 1 << 20;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// The changes of one call.
#[derive(Default)]
struct Written {
    fields: Vec<(Field, Option<Vec<u8>>)>,
    numbers: Vec<(Number, i64)>,
    /// Tables as a whole, once something of them was written.
    tables: Vec<(RequestTable, Pairs)>,
    bytes: usize,
}

impl Written {
    /// Takes so many bytes of the room.
    fn take(&mut self, bytes: usize) -> Result<(), String> {
        let bytes = self.bytes.saturating_add(bytes);
        if bytes > MOST {
            return Err(format!("no room: a shadow may write {} KiB into a request", MOST >> 10));
        }
        self.bytes = bytes;
        Ok(())
    }

    fn put_field(&mut self, field: Field, value: Option<Vec<u8>>) {
        self.fields.retain(|(known, _)| *known != field);
        self.fields.push((field, value));
    }

    fn put_number(&mut self, field: Number, value: i64) {
        self.numbers.retain(|(known, _)| *known != field);
        self.numbers.push((field, value));
    }

    fn table(&self, name: RequestTable) -> Option<&Pairs> {
        self.tables.iter().find(|(known, _)| *known == name).map(|(_, pairs)| pairs)
    }
}

/// See the module.
pub struct ShadowFields {
    current: Rc<CurrentRequest>,
    written: RefCell<Written>,
}

impl ShadowFields {
    /// Over this thread's request.
    pub fn of(current: Rc<CurrentRequest>) -> Self {
        ShadowFields { current, written: RefCell::default() }
    }

    /// A call begins: nothing is written, and where the request goes by now is not seen.
    pub fn begin(&self) {
        let mut written = Written::default();
        let Some(request) = self.current.get() else { return };
        if request.proxyreq() != PROXYREQ_NONE {
            written.put_number(Number::Proxyreq, i64::from(PROXYREQ_NONE));
        }
        if request.filename().is_some_and(|name| name.starts_with(b"proxy:")) {
            written.put_field(Field::Filename, None);
        }
        let is_proxy = |handler: &[u8]| handler == b"proxy-server" || handler.starts_with(b"proxy:");
        if request.handler().is_some_and(is_proxy) {
            written.put_field(Field::Handler, None);
        }
        *self.written.borrow_mut() = written;
    }

    /// Changes a table, whose pairs are the request's as long as nothing was changed.
    fn change(&self, name: RequestTable, bytes: usize, with: impl FnOnce(&mut Pairs)) -> Result<(), String> {
        let mut written = self.written.borrow_mut();
        if written.table(name).is_none() {
            let mut pairs = Pairs::new();
            self.current.each(name, &mut |key, value| {
                pairs.push((key.to_vec(), value.to_vec()));
                true
            });
            let size = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
            written.take(size)?;
            written.tables.push((name, pairs));
        }
        written.take(bytes)?;
        if let Some((_, pairs)) = written.tables.iter_mut().find(|(known, _)| *known == name) {
            with(pairs);
        }
        Ok(())
    }

    /// An expression that looks at headers adds to `Vary` of the answer; this takes it back.
    fn without_vary<T>(&self, body: impl FnOnce() -> T) -> T {
        let Some(request) = self.current.get() else { return body() };
        let headers = request.headers_out();
        let before = headers.get(c"Vary").map(<[u8]>::to_vec);
        let said = body();
        if headers.get(c"Vary") != before.as_deref() {
            let before = before.and_then(|before| std::ffi::CString::new(before).ok());
            match before {
                Some(before) => headers.set(c"Vary", &before),
                None => headers.unset(c"Vary"),
            }
        }
        said
    }
}

impl RequestHost for ShadowFields {
    fn active(&self) -> bool {
        self.current.active()
    }

    fn field(&self, field: Field, f: &mut dyn FnMut(Option<&[u8]>)) {
        let written = self.written.borrow().fields.iter().find(|(known, _)| *known == field).cloned();
        match written {
            Some((_, value)) => f(value.as_deref()),
            None => self.current.field(field, f),
        }
    }

    fn set_field(&self, field: Field, value: Option<&[u8]>) -> Result<(), String> {
        rules::check_field(field, value)?;
        let settable =
            [Field::Uri, Field::Args, Field::Filename, Field::Handler, Field::User, Field::ContentType];
        if !settable.contains(&field) {
            return Err(format!("{field:?} may not be set"));
        }
        let value = match (field, value) {
            (Field::Uri, None) => Some(&b"/"[..]),
            (_, value) => value,
        };
        let mut written = self.written.borrow_mut();
        written.take(value.map_or(0, <[u8]>::len))?;
        written.put_field(field, value.map(<[u8]>::to_vec));
        Ok(())
    }

    fn number(&self, field: Number) -> i64 {
        let written = self.written.borrow().numbers.iter().find(|(known, _)| *known == field).copied();
        written.map_or_else(|| self.current.number(field), |(_, value)| value)
    }

    fn set_number(&self, field: Number, value: i64) -> Result<(), String> {
        let value = rules::check_number(field, value)?;
        if !matches!(field, Number::Status | Number::Proxyreq) {
            return Err(format!("{field:?} may not be set"));
        }
        self.written.borrow_mut().put_number(field, i64::from(value));
        Ok(())
    }

    fn get(&self, name: RequestTable, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>)) {
        let written = self.written.borrow();
        let Some(pairs) = written.table(name) else {
            drop(written);
            return RequestHost::get(&*self.current, name, key, f);
        };
        let found = pairs.iter().find(|(known, _)| known.eq_ignore_ascii_case(key));
        let found = found.map(|(_, value)| value.clone());
        drop(written);
        f(found.as_deref());
    }

    fn set(&self, name: RequestTable, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        rules::check_pair(name, key, value.unwrap_or_default())?;
        self.change(name, key.len() + value.map_or(0, <[u8]>::len), |pairs| {
            let at = pairs.iter().position(|(known, _)| known.eq_ignore_ascii_case(key));
            pairs.retain(|(known, _)| !known.eq_ignore_ascii_case(key));
            if let Some(value) = value {
                let at = at.map_or(pairs.len(), |at| at.min(pairs.len()));
                pairs.insert(at, (key.to_vec(), value.to_vec()));
            }
        })
    }

    fn add(&self, name: RequestTable, key: &[u8], value: &[u8]) -> Result<(), String> {
        rules::check_pair(name, key, value)?;
        self.change(name, key.len() + value.len(), |pairs| pairs.push((key.to_vec(), value.to_vec())))
    }

    fn each(&self, name: RequestTable, f: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        // A copy: `f` may run Lua, which writes.
        let written = self.written.borrow().table(name).cloned();
        match written {
            Some(pairs) => {
                pairs.iter().all(|(key, value)| f(key, value));
            }
            None => self.current.each(name, f),
        }
    }

    /// The body is the backend's.
    fn body(&self, _: usize, f: &mut dyn FnMut(Option<&[u8]>)) {
        f(None);
    }

    fn ssl_var(&self, name: &str) -> Option<Vec<u8>> {
        self.current.ssl_var(name)
    }

    fn construct_url(&self, path: &[u8]) -> Vec<u8> {
        self.current.construct_url(path)
    }

    fn expr(&self, expression: &str, restricted: bool) -> Result<bool, String> {
        self.without_vary(|| self.current.expr(expression, restricted))
    }

    fn expr_word(&self, word: &str, restricted: bool) -> Result<Vec<u8>, String> {
        self.without_vary(|| self.current.expr_word(word, restricted))
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
        self.without_vary(|| self.current.expr_text(expression))
    }

    fn serial(&self) -> u64 {
        self.current.serial()
    }

    fn server_addr(&self) -> Option<String> {
        self.current.server_addr()
    }

    fn custom_response(&self, _: u16, text: &[u8]) -> Result<(), String> {
        if self.current.active() {
            rules::check_text("the text", text, b"\0")
        } else {
            Err(NO_REQUEST.into())
        }
    }
}
