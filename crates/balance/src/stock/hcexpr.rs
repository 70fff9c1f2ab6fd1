// SPDX-License-Identifier: Apache-2.0
//! The expressions of `ProxyHCExpr` that say what `expect=`, `body=` and `not_body=` can say.

use regex::Regex;

/// The properties that an answer must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Ranges of statuses.
    pub expect: Vec<(u16, u16)>,
    /// The pattern that the body must match.
    pub body: Option<String>,
    /// The pattern that it must not match.
    pub not_body: Option<String>,
}

/// How two numbers compare.
type Compare = fn(u16, u16) -> bool;

/// One comparison.
enum Part {
    Status(Box<dyn Fn(u16) -> bool>),
    Body { pattern: String, wanted: bool },
}

/// Reads comparisons of `%{REQUEST_STATUS}` and `hc('body')` joined by `&&`; None for anything
/// else. Without one of the status any status is good, as mod_proxy_hcheck has it.
pub(super) fn read(expression: &str) -> Option<Wanted> {
    let (mut codes, mut body, mut not_body) = ((100..=599).collect::<Vec<u16>>(), None, None);
    let mut rest = expression.trim();
    loop {
        let (part, after) = part(rest)?;
        match part {
            Part::Status(holds) => codes.retain(|code| holds(*code)),
            Part::Body { pattern, wanted } => {
                let place = if wanted { &mut body } else { &mut not_body };
                // Two of a kind cannot be one pattern.
                if place.replace(pattern).is_some() {
                    return None;
                }
            }
        }
        let after = after.trim_start();
        match after.strip_prefix("&&") {
            Some(next) => rest = next.trim_start(),
            None if after.is_empty() => break,
            None => return None,
        }
    }
    let expect = ranges(&codes);
    (!expect.is_empty()).then_some(Wanted { expect, body, not_body })
}

fn part(text: &str) -> Option<(Part, &str)> {
    if let Some(rest) = text.strip_prefix("%{REQUEST_STATUS}") {
        let rest = rest.trim_start();
        return match pattern(rest)? {
            Ok((pattern, wanted, after)) => {
                let regex = Regex::new(&pattern).ok()?;
                Some((Part::Status(Box::new(move |code| regex.is_match(&code.to_string()) == wanted)), after))
            }
            Err(rest) => number(rest),
        };
    }
    let rest = ["hc('body')", "hc(\"body\")"].iter().find_map(|name| text.strip_prefix(name))?;
    let (pattern, wanted, after) = pattern(rest.trim_start())?.ok()?;
    Regex::new(&pattern).ok()?;
    Some((Part::Body { pattern, wanted }, after))
}

/// A pattern, whether it has to match, and what follows.
type Pattern<'t> = (String, bool, &'t str);

/// `=~ /pattern/flags`. Err: another operator.
fn pattern(text: &str) -> Option<Result<Pattern<'_>, &str>> {
    let (wanted, rest) = match (text.strip_prefix("=~"), text.strip_prefix("!~")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return Some(Err(text)),
    };
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('m').unwrap_or(rest);
    let delimiter = rest.chars().next().filter(|c| "/#!,;|^'".contains(*c))?;
    let (inner, after) = rest[1..].split_once(delimiter)?;
    // An escaped delimiter, and what httpd would put in, are left to people.
    if inner.is_empty() || inner.ends_with('\\') || inner.contains("%{") {
        return None;
    }
    let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
    let (flags, after) = after.split_at(end);
    if !flags.chars().all(|flag| "ims".contains(flag)) {
        return None;
    }
    let prefix = if flags.is_empty() { String::new() } else { format!("(?{flags})") };
    Some(Ok((prefix + inner, wanted, after)))
}

/// `-eq 200`, `== '200'` and their kin.
fn number(text: &str) -> Option<(Part, &str)> {
    const OPERATORS: [(&str, Compare); 15] = [
        ("-eq", |a, b| a == b),
        ("-ne", |a, b| a != b),
        ("-lt", |a, b| a < b),
        ("-le", |a, b| a <= b),
        ("-gt", |a, b| a > b),
        ("-ge", |a, b| a >= b),
        ("eq", |a, b| a == b),
        ("ne", |a, b| a != b),
        ("==", |a, b| a == b),
        ("!=", |a, b| a != b),
        ("<=", |a, b| a <= b),
        (">=", |a, b| a >= b),
        ("<", |a, b| a < b),
        (">", |a, b| a > b),
        ("=", |a, b| a == b),
    ];
    let (operator, compare) = OPERATORS.iter().find(|(name, _)| text.starts_with(name))?;
    let rest = text[operator.len()..].trim_start();
    let quote = rest.chars().next().filter(|c| "'\"".contains(*c));
    let rest = if quote.is_some() { &rest[1..] } else { rest };
    let (digits, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
    let wanted: u16 = digits.parse().ok().filter(|_| digits.len() == 3)?;
    let after = match quote {
        Some(quote) => after.strip_prefix(quote)?,
        None => after,
    };
    let compare = *compare;
    Some((Part::Status(Box::new(move |code| compare(code, wanted))), after))
}

/// Codes in rising order as ranges.
fn ranges(codes: &[u16]) -> Vec<(u16, u16)> {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for code in codes {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *code => *last = *code,
            _ => ranges.push((*code, *code)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_that_expect_and_body_can_say_are_read() {
        let all = vec![(100, 599)];
        for (expression, expect, body, not_body) in [
            ("%{REQUEST_STATUS} =~ /^[234]/", vec![(200, 499)], None, None),
            ("%{REQUEST_STATUS} =~ /^[5]/", vec![(500, 599)], None, None),
            ("%{REQUEST_STATUS} !~ /^[45]/", vec![(100, 399)], None, None),
            ("%{REQUEST_STATUS}=~m#^20[04]$#", vec![(200, 200), (204, 204)], None, None),
            ("%{REQUEST_STATUS} -eq 200", vec![(200, 200)], None, None),
            (" %{REQUEST_STATUS} == '200' ", vec![(200, 200)], None, None),
            ("%{REQUEST_STATUS} -ge 200 && %{REQUEST_STATUS} -lt 400", vec![(200, 399)], None, None),
            ("hc('body') !~ /Under maintenance/", all.clone(), None, Some("Under maintenance")),
            ("hc('body') =~ /^ok/i", all, Some("(?i)^ok"), None),
            (
                "%{REQUEST_STATUS} -eq 200 && hc('body') =~ /up/ && hc('body') !~ /down/",
                vec![(200, 200)],
                Some("up"),
                Some("down"),
            ),
        ] {
            let wanted =
                Wanted { expect, body: body.map(str::to_owned), not_body: not_body.map(str::to_owned) };
            assert_eq!(read(expression), Some(wanted), "{expression}");
        }
    }

    #[test]
    fn expressions_that_they_cannot_say_are_left_to_people() {
        for expression in [
            "",
            "true",
            "%{REQUEST_STATUS}",
            "%{REQUEST_STATUS} =~ /^2/ || hc('body') =~ /ok/",
            "%{REQUEST_STATUS} =~ /^2",
            "%{REQUEST_STATUS} =~ /(/",
            "%{REQUEST_STATUS} =~ /^[67]/",
            "%{REQUEST_STATUS} -eq 20",
            "%{HTTP:X-Up} == 'yes'",
            "!(hc('body') =~ /x/)",
            "hc('body') =~ /a/ && hc('body') =~ /b/",
            "hc('body') =~ /a\\/b/",
            "hc('body') =~ /%{ENV:x}/",
            "hc('body') =~ /(?=look)/",
        ] {
            assert_eq!(read(expression), None, "{expression}");
        }
    }
}
