// SPDX-License-Identifier: Apache-2.0
//! Lines of access logs: httpd's formats, and JSON.

use serde_json::Value;

use super::took::Took;
use crate::moment;
use crate::world::ask::Ask;

/// A request of a log.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// When it came, seconds since the epoch.
    pub at: f64,
    /// Whether that is more than a whole second.
    pub exact: bool,
    /// The request.
    pub ask: Ask,
    /// How long it took.
    pub took: Took,
    /// The member that served it (`LB_MEMBER`).
    pub member: Option<String>,
}

/// A piece of a format.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A value: what stands in braces, and the letter.
    Value(String, char),
}

/// A format of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineFormat(Vec<Piece>);

/// Formats that are tried, the longest first.
const USUAL: [&str; 3] = [
    r#"%v:%p %h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i""#,
    r#"%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i""#,
    r#"%h %l %u %t "%r" %>s %b"#,
];

/// The formats that a log without `--log-format` may have.
pub fn usual() -> Vec<LineFormat> {
    USUAL.iter().filter_map(|format| LineFormat::parse(format).ok()).collect()
}

impl LineFormat {
    /// httpd's syntax.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut pieces, mut literal) = (Vec::new(), String::new());
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            if letter == '\\' {
                literal.extend(letters.next().map(|next| if next == 't' { '\t' } else { next }));
                continue;
            }
            if letter != '%' {
                literal.push(letter);
                continue;
            }
            let mut inside = String::new();
            let kind = loop {
                match letters.next() {
                    Some('{') => inside = letters.by_ref().take_while(|letter| *letter != '}').collect(),
                    Some('>' | '<' | '!' | ',' | '0'..='9') => {}
                    Some(kind) => break kind,
                    None => return Err(format!("--log-format '{text}': a % at the end")),
                }
            };
            if kind == '%' {
                literal.push('%');
                continue;
            }
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Value(inside, kind));
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        let says = |wanted: &str| {
            pieces.iter().any(|piece| matches!(piece, Piece::Value(_, kind) if wanted.contains(*kind)))
        };
        if !says("t") || !says("rU") {
            return Err(format!("--log-format '{text}': expected a time (%t) and a request (%r, or %U)"));
        }
        Ok(LineFormat(pieces))
    }

    /// A line of this format. More may stand behind.
    pub fn read(&self, line: &str) -> Option<Record> {
        let mut record = Record { at: f64::NAN, ..Record::default() };
        // The time of the member itself, without waits of the request.
        let mut attempt = Took::default();
        let mut rest = line;
        for (at, piece) in self.0.iter().enumerate() {
            match piece {
                Piece::Text(text) => rest = rest.strip_prefix(text.as_str())?,
                Piece::Value(inside, kind) => {
                    let next = self.0[at + 1..].iter().find_map(|piece| match piece {
                        Piece::Text(text) => text.chars().next(),
                        Piece::Value(..) => None,
                    });
                    let end = end_of(rest, *kind, inside, next)?;
                    let (value, after) = rest.split_at(end);
                    if (*kind, inside.as_str()) == ('e', "LB_SECONDS") {
                        attempt = Took::read(inside, value, 1.0);
                    }
                    take(&mut record, *kind, inside, value)?;
                    rest = after;
                }
            }
        }
        record.took = attempt.or(record.took);
        sound(record)
    }
}

/// A record whose time and path are possible.
fn sound(record: Record) -> Option<Record> {
    /// The year 2200, in seconds since the epoch.
    const LAST: f64 = 7_258_118_400.0;
    ((0.0..LAST).contains(&record.at) && record.ask.target.starts_with('/')).then_some(record)
}

/// Where a value ends: before the next text. Within quotes a backslash stands before a quote.
fn end_of(rest: &str, kind: char, inside: &str, next: Option<char>) -> Option<usize> {
    if kind == 't' && inside.is_empty() && rest.starts_with('[') {
        return Some(rest.find(']')? + 1);
    }
    // The query stands behind the path without anything between.
    let own = if kind == 'U' { rest.find('?') } else { None };
    if own.is_some() {
        return own;
    }
    let Some(next) = next else { return Some(rest.len()) };
    let mut escaped = false;
    for (at, letter) in rest.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            letter if letter == next => return Some(at),
            _ => {}
        }
    }
    None
}

fn take(record: &mut Record, kind: char, inside: &str, value: &str) -> Option<()> {
    let given = (value != "-").then_some(value);
    match kind {
        't' => time(record, inside, value)?,
        'r' => {
            let mut words = value.split(' ');
            record.ask.method = words.next()?.to_owned();
            record.ask.target = target(words.next()?);
        }
        'm' => record.ask.method = value.to_owned(),
        'U' => record.ask.target = target(value),
        'q' => record.ask.target.push_str(value),
        'h' | 'a' => record.ask.client = given.map(str::to_owned),
        'u' => record.ask.user = given.map(str::to_owned),
        'v' | 'V' => record.ask.host = given.map(str::to_owned),
        'D' => record.took = Took::read("%D", value, 1e6).or(std::mem::take(&mut record.took)),
        'T' => {
            let unit = match inside {
                "ms" => 1e3,
                "us" => 1e6,
                _ => 1.0,
            };
            record.took = std::mem::take(&mut record.took).or(Took::read("%T", value, unit));
        }
        'i' => {
            if let Some(value) = given {
                let value = value.replace("\\\"", "\"").replace("\\\\", "\\");
                record.ask.headers.push((inside.to_owned(), value));
            }
        }
        'e' if inside == "LB_MEMBER" => record.member = given.map(str::to_owned),
        _ => {}
    }
    Some(())
}

/// A path, of a whole URL its path.
fn target(text: &str) -> String {
    match text.find("://") {
        Some(at) if !text.starts_with('/') => {
            let rest = &text[at + 3..];
            rest.find('/').map_or("/", |at| &rest[at..]).to_owned()
        }
        _ => text.to_owned(),
    }
}

fn time(record: &mut Record, inside: &str, value: &str) -> Option<()> {
    let number = || value.parse::<f64>().ok();
    let inside = inside.strip_prefix("begin:").unwrap_or(inside);
    match inside {
        "sec" | "%s" => record.at = number()?,
        "msec" => (record.at, record.exact) = (number()? / 1e3, true),
        "usec" => (record.at, record.exact) = (number()? / 1e6, true),
        // Fractions of a second that are logged by themselves.
        "msec_frac" => (record.at, record.exact) = (record.at + number()? / 1e3, true),
        "usec_frac" => (record.at, record.exact) = (record.at + number()? / 1e6, true),
        _ => {
            let value = value.trim_matches(['[', ']']);
            record.at = moment::of_log(value).or_else(|| moment::of(value).ok())?;
            record.exact = record.at.fract() != 0.0;
        }
    }
    Some(())
}

/// A line of JSON, by the names that people use.
pub fn of_json(line: &str) -> Option<Record> {
    let document: Value = serde_json::from_str(line).ok()?;
    let text = |names: &[&str]| {
        names.iter().find_map(|name| match document.get(*name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
    };
    let at = text(&["time", "timestamp", "ts", "@timestamp", "time_iso8601", "msec"])?;
    let at = moment::of(&at).ok().or_else(|| moment::of_log(&at))?;
    let mut ask = Ask::default();
    if let Some(request) = text(&["request"]).filter(|request| request.contains(' ')) {
        let mut words = request.split(' ');
        (ask.method, ask.target) = (words.next()?.to_owned(), target(words.next()?));
    } else {
        ask.target = target(&text(&["path", "uri", "url", "request_uri"])?);
        ask.method = text(&["method", "request_method"]).unwrap_or_default();
    }
    ask.host = text(&["host", "server_name", "vhost"]);
    ask.client = text(&["client", "remote_addr", "client_ip", "ip"]);
    ask.user = text(&["user", "remote_user"]).filter(|user| user != "-");
    if let Some(Value::Object(headers)) = document.get("headers") {
        let each =
            headers.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        ask.headers.extend(each);
    }
    let took = Took::of_json(&document, &["seconds", "request_time", "LB_SECONDS"], 1.0)
        .or(Took::of_json(&document, &["duration_ms", "ms"], 1e3))
        .or(Took::of_json(&document, &["duration_us", "us"], 1e6));
    let member = text(&["member", "LB_MEMBER"]);
    sound(Record { at, exact: at.fract() != 0.0, ask, took, member })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_lines_are_read() {
        let all = usual();
        let read = |line: &str| all.iter().find_map(|format| format.read(line));
        let common =
            read(r#"192.0.2.1 - ada [10/Oct/2000:13:55:36 -0700] "GET /a?b=c HTTP/1.1" 200 12"#).unwrap();
        assert_eq!((common.at, common.ask.target.as_str()), (971_211_336.0, "/a?b=c"));
        assert_eq!((common.ask.user.as_deref(), common.ask.host.as_deref()), (Some("ada"), None));
        let vhost = read(
            r#"www.example.org:443 h - - [10/Oct/2000:13:55:36 +0000] "POST / HTTP/1.1" 200 12 "-" "a \"b\" c""#,
        );
        let vhost = vhost.unwrap();
        assert_eq!(vhost.ask.host.as_deref(), Some("www.example.org"));
        assert_eq!(vhost.ask.headers, [("User-Agent".to_owned(), "a \"b\" c".to_owned())]);
        for broken in
            ["", "x", r#"h - - [10/Oct/2000:13:55:36] "GET" 1 2"#, r#"h - - [t] "GET / HTTP/1.1" 2 3"#]
        {
            assert_eq!(read(broken), None, "{broken}");
        }
    }

    #[test]
    fn formats_of_ones_own() {
        let format = LineFormat::parse(r#"%{usec}t %a "%m %U%q" %D %{LB_MEMBER}e"#).unwrap();
        let record = format.read(r#"1000000500000 10.0.0.1 "GET /x?y" 2500 a"#).unwrap();
        assert_eq!((record.at, record.took.seconds, record.exact), (1_000_000.5, Some(0.0025), true));
        assert_eq!((record.ask.target.as_str(), record.member.as_deref()), ("/x?y", Some("a")));
        for both in ["%t \"%r\" %{LB_SECONDS}e %D", "%t \"%r\" %D %{LB_SECONDS}e"] {
            let numbers = if both.ends_with('D') { "0.25 300000" } else { "300000 0.25" };
            let line = format!("[30/Nov/2026:14:00:00 +0000] \"GET / HTTP/1.1\" {numbers}");
            let record = LineFormat::parse(both).unwrap().read(&line).unwrap();
            assert_eq!(record.took.seconds, Some(0.25), "{both}");
        }
        assert!(LineFormat::parse("%h %r").is_err() && LineFormat::parse("%t %").is_err());
    }

    #[test]
    fn json_is_read_by_its_names() {
        let record =
            of_json(r#"{"time":"2026-11-30T09:00:00.5Z","request":"GET /x HTTP/1.1","request_time":0.2}"#);
        assert_eq!(
            record.map(|record| (record.ask.target, record.took.seconds)),
            Some(("/x".into(), Some(0.2)))
        );
        assert_eq!(of_json("{"), None);
        assert_eq!(of_json(r#"{"time":1}"#), None);
    }
}
