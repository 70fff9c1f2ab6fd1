// SPDX-License-Identifier: Apache-2.0
//! A part of httpd's expression language: variables in text, and conditions of comparisons.
//! Anything else is an error that says so.

use super::pattern;
use crate::host::{Field, Number, Request, RequestTable};
use crate::strings::expression::limited_pattern;

/// The text of a string expression: its `%{…}` are variables.
pub(super) fn text(request: &dyn Request, expression: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut rest = expression;
    while let Some((before, after)) = rest.split_once("%{") {
        let (name, after) = after.split_once('}').ok_or("a variable without its }")?;
        out.extend_from_slice(before.as_bytes());
        out.extend(variable(request, name)?);
        rest = after;
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

fn bytes(request: &dyn Request, field: Field) -> Vec<u8> {
    let mut found = Vec::new();
    request.field(field, &mut |value| found.extend_from_slice(value.unwrap_or_default()));
    found
}

fn entry(request: &dyn Request, table: RequestTable, key: &str) -> Vec<u8> {
    let mut found = Vec::new();
    request.get(table, key.as_bytes(), &mut |value| found.extend_from_slice(value.unwrap_or_default()));
    found
}

fn variable(request: &dyn Request, name: &str) -> Result<Vec<u8>, String> {
    let field = |field| Ok(bytes(request, field));
    let header = |key: &str| Ok(entry(request, RequestTable::HeadersIn, key));
    if let Some((kind, key)) = name.split_once(':') {
        return match kind.to_ascii_lowercase().as_str() {
            "req" | "http" => header(key),
            "env" | "reqenv" => Ok(entry(request, RequestTable::SubprocessEnv, key)),
            "note" => Ok(entry(request, RequestTable::Notes, key)),
            _ => Err(format!("%{{{name}}} is not known without httpd")),
        };
    }
    match name.to_ascii_uppercase().as_str() {
        "REQUEST_METHOD" => field(Field::Method),
        "REQUEST_URI" => field(Field::Uri),
        "REQUEST_SCHEME" => field(Field::Scheme),
        "REQUEST_FILENAME" => field(Field::Filename),
        "QUERY_STRING" => field(Field::Args),
        "THE_REQUEST" => field(Field::TheRequest),
        "REMOTE_ADDR" => field(Field::UseragentIp),
        "REMOTE_USER" => field(Field::User),
        "SERVER_NAME" => field(Field::ServerName),
        "SERVER_PROTOCOL" => field(Field::Protocol),
        "DOCUMENT_ROOT" => field(Field::DocumentRoot),
        "SERVER_PORT" => Ok(request.number(Number::Port).to_string().into_bytes()),
        "REMOTE_PORT" => Ok(request.number(Number::ClientPort).to_string().into_bytes()),
        "HTTPS" => Ok(if request.number(Number::IsHttps) != 0 { "on" } else { "off" }.into()),
        "HTTP_HOST" => header("Host"),
        "HTTP_USER_AGENT" => header("User-Agent"),
        "HTTP_REFERER" => header("Referer"),
        "HTTP_COOKIE" => header("Cookie"),
        "HTTP_ACCEPT" => header("Accept"),
        _ => Err(format!("%{{{name}}} is not known without httpd")),
    }
}

/// A condition.
pub(super) fn condition(request: &dyn Request, text: &str) -> Result<bool, String> {
    let mut reader = Reader { request, rest: text };
    let verdict = reader.any()?;
    match reader.rest.trim_start() {
        "" => Ok(verdict),
        rest => Err(format!("syntax error near '{rest}', or not known without httpd")),
    }
}

struct Reader<'r, 't> {
    request: &'r dyn Request,
    rest: &'t str,
}

impl<'t> Reader<'_, 't> {
    fn eat(&mut self, word: &str) -> bool {
        self.rest = self.rest.trim_start();
        let rest = self.rest.strip_prefix(word);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn any(&mut self) -> Result<bool, String> {
        let mut verdict = self.all()?;
        while self.eat("||") {
            verdict |= self.all()?;
        }
        Ok(verdict)
    }

    fn all(&mut self) -> Result<bool, String> {
        let mut verdict = self.one()?;
        while self.eat("&&") {
            verdict &= self.one()?;
        }
        Ok(verdict)
    }

    fn one(&mut self) -> Result<bool, String> {
        if self.eat("!") {
            return Ok(!self.one()?);
        }
        if self.eat("(") {
            let verdict = self.any()?;
            return if self.eat(")") { Ok(verdict) } else { Err("syntax error: expected )".into()) };
        }
        if self.eat("true") {
            return Ok(true);
        }
        if self.eat("false") {
            return Ok(false);
        }
        if self.eat("-n ") {
            return Ok(!self.word()?.is_empty());
        }
        if self.eat("-z ") {
            return Ok(self.word()?.is_empty());
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<bool, String> {
        let left = self.word()?;
        if self.eat("=~") {
            return self.matches(&left);
        }
        if self.eat("!~") {
            return self.matches(&left).map(|found| !found);
        }
        type Compare = fn(i64, i64) -> bool;
        const NUMBERS: [(&str, Compare); 6] = [
            ("-eq", |a, b| a == b),
            ("-ne", |a, b| a != b),
            ("-lt", |a, b| a < b),
            ("-le", |a, b| a <= b),
            ("-gt", |a, b| a > b),
            ("-ge", |a, b| a >= b),
        ];
        for (name, compare) in NUMBERS {
            if self.eat(name) {
                let number = |text: &[u8]| String::from_utf8_lossy(text).trim().parse().unwrap_or(0);
                return Ok(compare(number(&left), number(&self.word()?)));
            }
        }
        if self.eat("==") || self.rest.starts_with("= ") && self.eat("=") {
            return Ok(left == self.word()?);
        }
        if self.eat("!=") {
            return Ok(left != self.word()?);
        }
        Err(format!("syntax error near '{}', or not known without httpd", self.rest))
    }

    /// `/pattern/flags` or `m#pattern#flags`, with or without the limits that are put around
    /// scripts' patterns.
    fn matches(&mut self, text: &[u8]) -> Result<bool, String> {
        self.eat("m");
        let mark = self.rest.trim_start().chars().next().ok_or("syntax error: expected a pattern")?;
        let body = &self.rest.trim_start()[mark.len_utf8()..];
        let (found, rest) = body.split_once(mark).ok_or("syntax error: a pattern without its end")?;
        let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        self.rest = &rest[end..];
        Ok(pattern::groups(text, limited_pattern(found).unwrap_or(found), &rest[..end])?.is_some())
    }

    fn word(&mut self) -> Result<Vec<u8>, String> {
        self.rest = self.rest.trim_start();
        let taken: &'t str = match self.rest.chars().next() {
            Some(quote @ ('\'' | '"')) => {
                let (word, rest) = self.rest[1..].split_once(quote).ok_or("a text without its quote")?;
                self.rest = rest;
                word
            }
            Some('%') => {
                let end = self.rest.find('}').ok_or("a variable without its }")? + 1;
                let (word, rest) = self.rest.split_at(end);
                self.rest = rest;
                word
            }
            Some(digit) if digit.is_ascii_digit() => {
                let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
                let (word, rest) = self.rest.split_at(end);
                self.rest = rest;
                word
            }
            _ => return Err(format!("syntax error near '{}', or not known without httpd", self.rest)),
        };
        text(self.request, taken)
    }
}
