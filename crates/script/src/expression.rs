//! Regular expressions of scripts, in expressions of httpd as well: PCRE counts its steps, if the pattern says how many they may be. It takes
//! the last word on that, so a script's own is refused.

/// Steps of all searches of an expression: those at each place times the places.
const MAX_STEPS: usize = 3_000_000;
/// Steps at one place.
const MOST_STEPS: usize = 100_000;

/// An error when a pattern begins with limits of its own.
pub fn check_limits(pattern: &str) -> Result<(), String> {
    let mut rest = pattern;
    while let Some(inner) = rest.strip_prefix("(*") {
        let Some((word, after)) = inner.split_once(')') else { return Ok(()) };
        if word.starts_with("LIMIT_") {
            return Err(format!("'(*{word})': a script's pattern does not set its own limits"));
        }
        rest = after;
    }
    Ok(())
}

/// Puts a limit into each regular expression of an expression of httpd. `longest` is the length of the longest text that a variable may stand for.
pub fn limited(expression: &str, longest: usize) -> Result<String, String> {
    let patterns = patterns(expression)?;
    if patterns.is_empty() {
        return Ok(expression.to_owned());
    }
    // Any name may stand for a text.
    let names = 1 + expression.matches(['%', '(', '$']).count();
    let places = names.saturating_mul(longest).saturating_add(expression.len());
    let steps = (MAX_STEPS / places.saturating_mul(patterns.len()).max(1)).min(MOST_STEPS);
    if steps == 0 {
        return Err("a regular expression over texts of megabytes".to_owned());
    }
    let mut out = String::with_capacity(expression.len() + 32 * patterns.len());
    let mut from = 0;
    for (at, end) in patterns {
        check_limits(&expression[at..end])?;
        out.push_str(&expression[from..at]);
        out.push_str(&format!("(*LIMIT_MATCH={steps})"));
        from = at;
    }
    out.push_str(&expression[from..]);
    Ok(out)
}

/// Where the patterns are: behind `=~` and `!~`, between two of the same sign.
fn patterns(expression: &str) -> Result<Vec<(usize, usize)>, String> {
    // Signs that httpd takes beside `/`, but for those that stand in a limit.
    const SIGNS: &str = "/#$%^,;:?|!.'\"-";
    let unclear = || "'=~' wants a regular expression like /a.*b/ or m#a.*b#".to_owned();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(operator) = next_operator(expression, at)? {
        let begin = operator + expression[operator..].len() - expression[operator..].trim_start().len();
        let (sign, from) = match expression[begin..].strip_prefix('m') {
            Some(rest) => (rest.chars().next().ok_or_else(unclear)?, begin + 2),
            None if expression[begin..].starts_with('/') => ('/', begin + 1),
            None => return Err(unclear()),
        };
        if !SIGNS.contains(sign) {
            return Err(unclear());
        }
        let end = from + expression[from..].find(sign).ok_or_else(unclear)?;
        found.push((from, end));
        at = end + 1;
    }
    Ok(found)
}

/// The place behind the next `=~` or `!~` that stands in no string and no variable.
fn next_operator(expression: &str, from: usize) -> Result<Option<usize>, String> {
    let bytes = expression.as_bytes();
    let (mut at, mut quote) = (from, None);
    while at < bytes.len() {
        match (bytes[at], quote) {
            (b'%', _) if bytes.get(at + 1) == Some(&b'{') => {
                at = end_of_variable(bytes, at + 2)?;
                continue;
            }
            (b'\\', Some(_)) => at += 1,
            (sign, Some(open)) if sign == open => quote = None,
            (sign @ (b'"' | b'\''), None) => quote = Some(sign),
            (b'=' | b'!', None) if bytes.get(at + 1) == Some(&b'~') => return Ok(Some(at + 2)),
            _ => {}
        }
        at += 1;
    }
    Ok(None)
}

/// The place behind the `}`. Nothing but names may stand in it: neither variables nor expressions. At quotes and variables in
/// it httpd's scanner of expressions gives up, and ends the process.
fn end_of_variable(bytes: &[u8], from: usize) -> Result<usize, String> {
    let mut at = from;
    loop {
        match bytes.get(at) {
            Some(b'}') => return Ok(at + 1),
            Some(b'\\') => at += 2,
            Some(b'%') if bytes.get(at + 1) == Some(&b'{') => break,
            Some(b':') if at == from => break,
            Some(b'"' | b'\'' | b'\n') => break,
            Some(_) => at += 1,
            None => break,
        }
    }
    Err("a variable in '%{...}' has a plain name".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_gets_a_limit() {
        let n = "(*LIMIT_MATCH=100000)";
        for (expression, expected) in [
            ("%{HTTP_HOST} == 'a'", "%{HTTP_HOST} == 'a'".to_owned()),
            ("%{HTTP_HOST} =~ /a/", format!("%{{HTTP_HOST}} =~ /{n}a/")),
            ("%{HTTP_HOST} !~ m#a/b#i", format!("%{{HTTP_HOST}} !~ m#{n}a/b#i")),
            ("'%{note:x}' =~ /a/", format!("'%{{note:x}}' =~ /{n}a/")),
            (r#"'=~ /x/' =~ /a'/ && "\"=~" =~ m|b|"#, format!(r#"'=~ /x/' =~ /{n}a'/ && "\"=~" =~ m|{n}b|"#)),
        ] {
            let found = limited(expression, 1).unwrap();
            let steps = found.split("LIMIT_MATCH=").nth(1).and_then(|rest| rest.split(')').next());
            assert_eq!(found.replace(steps.unwrap_or("100000"), "100000"), expected);
        }
    }

    #[test]
    fn limits_of_a_script_and_what_is_unclear_are_refused() {
        for expression in [
            "'a' =~ /(*LIMIT_MATCH=9)a/",
            "'a' =~ m#(*UTF)(*LIMIT_MATCH=9)a#",
            "'a' =~ m_a_",
            "'a' =~ x",
            "'a' =~ /a",
            "%{note:%{a}} =~ /a/",
            "%{:1:} =~ /a/",
            "%{note:'} == 'a'",
            "'%{note:\"}' == 'a'",
        ] {
            assert!(limited(expression, 100).is_err(), "{expression}");
        }
        assert!(limited("'a' =~ /a/", usize::MAX).is_err());
        assert!(check_limits("(*UTF)(*LIMIT_DEPTH=1)a").is_err());
        assert!(check_limits("(*COMMIT)a(*LIMIT_MATCH=1)").is_ok());
    }
}
