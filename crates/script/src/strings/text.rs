// SPDX-License-Identifier: Apache-2.0
//! Pure text work: escaping, cookies, sessions, forms, base64.

use std::borrow::Cow;

use balance::session::{self, Routed, Session};
use balance::settings::Sticky;
use balance::sticky::Sent;

use crate::host::{Field, Request, RequestTable};

/// The request's session, see [`session::find`].
pub(crate) fn session(
    request: &dyn Request,
    sticky: &Sticky,
    lookup: &mut dyn FnMut(&[u8]) -> Routed,
) -> Option<Session> {
    let mut found = None;
    request.get(RequestTable::HeadersIn, b"Cookie", &mut |cookies| {
        request.field(Field::UnparsedUri, &mut |url| {
            let client = Sent { url: url.unwrap_or_default(), cookies: cookies.unwrap_or_default() };
            found = session::find(sticky, client, lookup);
        });
    });
    found
}

fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let index = bytes.iter().position(|byte| *byte == at)?;
    Some((&bytes[..index], &bytes[index + 1..]))
}

/// The value of a cookie in a Cookie header; surrounding double quotes are not part of it.
pub(crate) fn cookie<'a>(header: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    header.split(|byte| *byte == b';').find_map(|pair| {
        let (key, value) = split_once(pair.trim_ascii(), b'=')?;
        let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        (key == name).then_some(value)
    })
}

/// A cookie to set.
#[derive(Debug, Default)]
pub(crate) struct NewCookie<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) secure: bool,
    pub(crate) httponly: bool,
    /// Epoch seconds; 0 or less for a session cookie.
    pub(crate) expires: f64,
    pub(crate) path: Option<String>,
    pub(crate) domain: Option<String>,
    pub(crate) samesite: Option<String>,
}

/// The value of a Set-Cookie header. Key and value are escaped.
pub(crate) fn set_cookie(cookie: &NewCookie<'_>) -> String {
    let escaped = |bytes| String::from_utf8_lossy(&escape(bytes)).into_owned();
    let mut line = format!("{}={}", escaped(cookie.key), escaped(cookie.value));
    if cookie.expires > 0.0 {
        line.push_str(&format!("; Expires={}", http_date(cookie.expires as u64)));
    }
    line.push_str("; Path=");
    line.push_str(cookie.path.as_deref().unwrap_or("/"));
    for (name, value) in [("Domain", &cookie.domain), ("SameSite", &cookie.samesite)] {
        if let Some(value) = value {
            line.push_str(&format!("; {name}={value}"));
        }
    }
    if cookie.secure {
        line.push_str("; Secure");
    }
    if cookie.httponly {
        line.push_str("; HttpOnly");
    }
    line
}

/// RFC 9110 date of epoch seconds, up to the year 9999. Civil date from days: Howard Hinnant,
/// "chrono-compatible low-level date algorithms".
pub(crate) fn http_date(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = seconds.min(253_402_300_799);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + u64::from(month <= 2);
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        DAYS[(days % 7) as usize],
        MONTHS[(month - 1) as usize],
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// As httpd's ap_escape_urlencoded: letters, digits and `*-._` stay, a space becomes `+`.
pub(crate) fn escape(text: &[u8]) -> Vec<u8> {
    escape_but(text, b"*-._", true, b"0123456789abcdef")
}

/// As OpenResty's ngx.escape_uri: letters, digits and `-._~` stay.
pub(crate) fn escape_uri(text: &[u8]) -> Vec<u8> {
    escape_but(text, b"-._~", false, b"0123456789ABCDEF")
}

/// Escapes all but letters, digits and `keep`, by these digits.
fn escape_but(text: &[u8], keep: &[u8], plus: bool, hex: &[u8; 16]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        match byte {
            b' ' if plus => out.push(b'+'),
            _ if byte.is_ascii_alphanumeric() || keep.contains(&byte) => out.push(byte),
            _ => out.extend([b'%', hex[usize::from(byte >> 4)], hex[usize::from(byte & 15)]]),
        }
    }
    out
}

/// The way back; a `%` that starts no escape stays.
pub(crate) fn unescape(text: &[u8]) -> Vec<u8> {
    unescape_with(text, true)
}

/// Takes percent-encoding away, once; with `plus`, `+` is a space. Other text stays as it is.
pub fn unescape_with(text: &[u8], plus: bool) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match (byte, tail) {
            (b'+', _) if plus => out.push(b' '),
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = after;
                }
                _ => out.push(b'%'),
            },
            _ => out.push(byte),
        }
    }
    out
}

/// Whether each `%` begins an encoded byte, and none of them is NUL, which httpd takes for none.
pub(crate) fn is_encoded(text: &[u8]) -> bool {
    let mut after = text.split(|byte| *byte == b'%').skip(1);
    after.all(|part| part.len() > 1 && part[..2].iter().all(u8::is_ascii_hexdigit) && part[..2] != *b"00")
}

/// For a log that is read by programs, as httpd writes its own: no control characters, quotes,
/// backslashes or bytes beyond ASCII.
pub(crate) fn escape_logitem(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        match byte {
            8 => out.extend(b"\\b"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            11 => out.extend(b"\\v"),
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b' '..=b'~' => out.push(byte),
            _ => out.extend(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    out
}

/// As httpd's ap_os_escape_path. A path that is not a part of another one gets `./` before a colon
/// that would end a scheme.
pub(crate) fn escape_path(text: &[u8], is_part: bool) -> Vec<u8> {
    let colon = text.iter().position(|byte| *byte == b':');
    let slash = text.iter().position(|byte| *byte == b'/');
    let needs_dot = !is_part && colon.is_some_and(|colon| slash.is_none_or(|slash| colon < slash));
    let mut out = if needs_dot { b"./".to_vec() } else { Vec::new() };
    out.append(&mut escape_but(text, b"$-_.+!*'(),:@&=/~", false, b"0123456789abcdef"));
    out
}

/// `& < > "` as entities.
pub(crate) fn escape_html(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        match byte {
            b'&' => out.extend(b"&amp;"),
            b'<' => out.extend(b"&lt;"),
            b'>' => out.extend(b"&gt;"),
            b'"' => out.extend(b"&quot;"),
            _ => out.push(byte),
        }
    }
    out
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648, with padding.
pub(crate) fn base64_encode(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().enumerate().fold(0_u32, |word, (at, byte)| word | u32::from(*byte) << (16 - 8 * at));
        for at in 0..4 {
            let symbol = BASE64[(word >> (18 - 6 * at)) as usize & 63];
            out.push(if at <= chunk.len() { symbol } else { b'=' });
        }
    }
    out
}

fn base64_value(symbol: u8) -> Option<u32> {
    Some(u32::from(match symbol {
        b'A'..=b'Z' => symbol - b'A',
        b'a'..=b'z' => symbol - b'a' + 26,
        b'0'..=b'9' => symbol - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

/// Most bytes of a line that a script logs; httpd's own are cut at that.
const MAX_LINE: usize = 8 << 10;

/// Text for a log line, cut where httpd would cut it.
pub(crate) fn line(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_LINE)])
}

/// Puts values together for a log line, as long as there is room in it.
pub(crate) fn joined(values: &[mlua::Value], between: &str) -> mlua::Result<String> {
    let mut line = String::new();
    for (at, value) in values.iter().enumerate() {
        if line.len() >= MAX_LINE {
            break;
        }
        line.push_str(if at > 0 { between } else { "" });
        match value {
            mlua::Value::String(text) => line.push_str(&self::line(&text.as_bytes())),
            mlua::Value::LightUserData(_) => line.push_str("null"),
            value => line.push_str(&value.to_string()?),
        }
    }
    Ok(line)
}

/// Decodes up to the first byte that is not a symbol, as httpd does.
pub(crate) fn base64_decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut word, mut bits) = (0_u32, 0);
    for byte in text {
        let Some(value) = base64_value(*byte) else { break };
        word = (word << 6 | value) & 0xff_ffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits) as u8);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_by_whole_name() {
        let header = b"xbeta=1; beta=\"2\"; empty=; beta=3";
        assert_eq!(cookie(header, b"beta"), Some(&b"2"[..]));
        assert_eq!(cookie(header, b"empty"), Some(&b""[..]));
        assert_eq!(cookie(header, b"bet"), None);
        assert_eq!(cookie(b"", b"beta"), None);
    }

    #[test]
    fn set_cookie_lets_no_line_end_through() {
        let line = set_cookie(&NewCookie { key: b"a\r\n", value: b"b;c\r\nX: 1", ..NewCookie::default() });
        assert_eq!(line, "a%0d%0a=b%3bc%0d%0aX%3a+1; Path=/");
    }

    #[test]
    fn dates_are_right_in_leap_years() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    proptest::proptest! {
        #[test]
        fn escaping_comes_back(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            assert_eq!(unescape(&escape(&bytes)), bytes);
            assert_eq!(base64_decode(&base64_encode(&bytes)), bytes);
        }
    }

    #[test]
    fn base64_pads() {
        assert_eq!(base64_encode(b"a"), b"YQ==");
        assert_eq!(base64_encode(b"ab"), b"YWI=");
        assert_eq!(base64_encode(b"abc"), b"YWJj");
    }
}
