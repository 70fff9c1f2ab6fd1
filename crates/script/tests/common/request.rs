// SPDX-License-Identifier: Apache-2.0
//! A request as a test wants it.

use super::*;

pub struct TestRequest {
    pub active: Cell<bool>,
    pub fields: RefCell<BTreeMap<String, Vec<u8>>>,
    pub numbers: RefCell<BTreeMap<String, i64>>,
    pub tables: RefCell<Vec<(RequestTable, Vec<u8>, Vec<u8>)>>,
    pub body: RefCell<Option<Vec<u8>>>,
    /// Called as a script gets to the host, with the name of the call: `get` or `expr`.
    pub on_call: RefCell<Option<OnCall>>,
}

pub type OnCall = Rc<dyn Fn(&str)>;

impl Default for TestRequest {
    fn default() -> Self {
        let request = TestRequest {
            active: Cell::new(true),
            fields: RefCell::default(),
            numbers: RefCell::default(),
            tables: RefCell::default(),
            body: RefCell::default(),
            on_call: RefCell::default(),
        };
        request.put(Field::Method, "GET");
        request.put(Field::Uri, "/app/list");
        request.put(Field::UnparsedUri, "/app/list?a=1&b=x%20y&a=2");
        request.put(Field::Args, "a=1&b=x%20y&a=2");
        request.put(Field::Hostname, "www.example.org");
        request.put(Field::UseragentIp, "192.0.2.7");
        request.put(Field::Protocol, "HTTP/1.1");
        request.put(Field::TheRequest, "GET /app/list?a=1&b=x%20y&a=2 HTTP/1.1");
        request.put(Field::Scheme, "https");
        request.put(Field::ServerName, "example.org");
        request.put(Field::DocumentRoot, "/var/www");
        request.put(Field::LogId, "abc123");
        request.count(Number::Port, 443);
        request.count(Number::ClientPort, 50_000);
        request.count(Number::Status, 200);
        request.count(Number::Started, 1_700_000_000_000_000);
        request.count(Number::IsHttps, 1);
        request.count(Number::IsInitial, 1);
        request.header("Host", "www.example.org");
        request.header("X-Multi", "one");
        request.header("X-Multi", "two");
        request.header("Cookie", "session=abc; beta=1");
        request
    }
}

impl TestRequest {
    pub fn put(&self, field: Field, value: &str) {
        self.fields.borrow_mut().insert(format!("{field:?}"), value.into());
    }
    pub fn count(&self, field: Number, value: i64) {
        self.numbers.borrow_mut().insert(format!("{field:?}"), value);
    }
    pub fn header(&self, key: &str, value: &str) {
        self.tables.borrow_mut().push((RequestTable::HeadersIn, key.into(), value.into()));
    }
    pub fn value(&self, table: RequestTable, key: &str) -> Option<String> {
        let mut found = None;
        self.get(table, key.as_bytes(), &mut |value| {
            found = value.map(|value| String::from_utf8_lossy(value).into_owned());
        });
        found
    }
    pub fn text(&self, field: Field) -> Option<String> {
        let fields = self.fields.borrow();
        fields.get(&format!("{field:?}")).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    fn called(&self, name: &str) {
        let on_call = self.on_call.borrow().clone();
        if let Some(on_call) = on_call {
            on_call(name);
        }
    }
}

impl Request for TestRequest {
    fn active(&self) -> bool {
        self.active.get()
    }
    fn field(&self, field: Field, f: &mut dyn FnMut(Option<&[u8]>)) {
        f(self.fields.borrow().get(&format!("{field:?}")).map(Vec::as_slice));
    }
    fn set_field(&self, field: Field, value: Option<&[u8]>) -> Result<(), String> {
        let mut fields = self.fields.borrow_mut();
        match value {
            Some(value) => drop(fields.insert(format!("{field:?}"), value.to_vec())),
            None => drop(fields.remove(&format!("{field:?}"))),
        }
        Ok(())
    }
    fn number(&self, field: Number) -> i64 {
        self.numbers.borrow().get(&format!("{field:?}")).copied().unwrap_or(0)
    }
    fn set_number(&self, field: Number, value: i64) -> Result<(), String> {
        self.count(field, value);
        Ok(())
    }
    fn get(&self, table: RequestTable, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>)) {
        self.called("get");
        let tables = self.tables.borrow();
        let found = tables.iter().find(|(t, k, _)| *t == table && k.eq_ignore_ascii_case(key));
        f(found.map(|(_, _, value)| value.as_slice()));
    }
    fn set(&self, table: RequestTable, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        let mut tables = self.tables.borrow_mut();
        tables.retain(|(t, k, _)| *t != table || !k.eq_ignore_ascii_case(key));
        if let Some(value) = value {
            tables.push((table, key.to_vec(), value.to_vec()));
        }
        Ok(())
    }
    fn add(&self, table: RequestTable, key: &[u8], value: &[u8]) -> Result<(), String> {
        self.tables.borrow_mut().push((table, key.to_vec(), value.to_vec()));
        Ok(())
    }
    fn each(&self, table: RequestTable, f: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        for (t, key, value) in self.tables.borrow().iter() {
            if *t == table && !f(key, value) {
                return;
            }
        }
    }
    fn body(&self, max: usize, f: &mut dyn FnMut(Option<&[u8]>)) {
        f(self.body.borrow().as_deref().filter(|body| body.len() <= max));
    }
    fn ssl_var(&self, name: &str) -> Option<Vec<u8>> {
        (name == "SSL_PROTOCOL").then(|| b"TLSv1.3".to_vec())
    }
    fn construct_url(&self, path: &[u8]) -> Vec<u8> {
        [b"https://example.org", path].concat()
    }
    fn expr(&self, expression: &str, _restricted: bool) -> Result<bool, String> {
        self.called("expr");
        match expression {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(format!("syntax error in {other}")),
        }
    }
    fn expr_word(&self, word: &str, _restricted: bool) -> Result<Vec<u8>, String> {
        Ok(word.as_bytes().to_vec())
    }
    fn regex(&self, search: &Search<'_>) -> Result<Option<Vec<Option<Vec<u8>>>>, String> {
        let Search { text, pattern, flags, .. } = *search;
        // Good enough for tests: a literal with one group around it.
        if pattern.contains("((") {
            return Err("unmatched parentheses".into());
        }
        let text = String::from_utf8_lossy(text).into_owned();
        let literal = pattern.replace(['(', ')'], "");
        let found = if flags.contains('i') {
            text.to_lowercase().find(&literal.to_lowercase())
        } else {
            text.find(&literal)
        };
        Ok(found.map(|at| {
            let hit = text.as_bytes()[at..at + literal.len()].to_vec();
            vec![Some(hit.clone()), Some(hit)]
        }))
    }
    fn regex_each(
        &self,
        search: &Search<'_>,
        f: &mut dyn FnMut(Vec<Option<std::ops::Range<usize>>>) -> bool,
    ) -> Result<Vec<(usize, String)>, String> {
        let Search { text, pattern, from, .. } = *search;
        let text = String::from_utf8_lossy(text).into_owned();
        let named = pattern.contains("(?<name>");
        let literal = pattern.replace("?<name>", "").replace(['(', ')'], "");
        for (at, hit) in text.match_indices(&literal).filter(|(at, _)| *at >= from) {
            let place = Some(at..at + hit.len());
            if !f(vec![place.clone(), place]) {
                break;
            }
        }
        Ok(if named { vec![(1, "name".to_owned())] } else { Vec::new() })
    }
    fn digest(&self, kind: Digest, data: &[u8]) -> Vec<u8> {
        let length = if kind == Digest::Md5 { 16 } else { 20 };
        (0..length).map(|at| at as u8 ^ data.len() as u8).collect()
    }
    fn expr_text(&self, expression: &str) -> Result<Vec<u8>, String> {
        Ok(expression.trim_start_matches("%{").trim_end_matches('}').as_bytes().to_vec())
    }
    fn serial(&self) -> u64 {
        self.number(Number::Started).cast_unsigned()
    }
    fn server_addr(&self) -> Option<String> {
        Some("192.0.2.1".into())
    }
    fn custom_response(&self, _status: u16, _text: &[u8]) -> Result<(), String> {
        Ok(())
    }
}
