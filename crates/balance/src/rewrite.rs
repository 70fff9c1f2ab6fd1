// SPDX-License-Identifier: Apache-2.0
//! Targets of mod_rewrite's `[P]` rules, as the configuration has them. mod_rewrite does not know
//! the scheme `lb`: it takes such a target for a path and puts this server's own name before it,
//! which a client may choose with its Host. So what comes out is told from other rules' work by
//! what each rule's text may become.

/// The substitution of a rule with the flag `P`, out of a `RewriteRule` line's arguments. None for
/// every other rule.
pub fn proxied(args: &[u8]) -> Option<&[u8]> {
    let (_, rest) = word(args);
    let (target, rest) = word(rest);
    let (flags, _) = word(rest);
    let flags = flags.strip_prefix(b"[")?.strip_suffix(b"]")?;
    let is_proxy = |flag: &[u8]| {
        let flag = flag.trim_ascii();
        flag.eq_ignore_ascii_case(b"P") || flag.eq_ignore_ascii_case(b"proxy")
    };
    // `-` changes nothing, and is never proxied.
    (target != b"-" && flags.split(|byte| *byte == b',').any(is_proxy)).then_some(target)
}

/// A word as mod_rewrite takes it, without its quotes, and what comes behind it.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii_start();
    let (quote, text) = match text.first() {
        Some(quote @ (b'"' | b'\'')) => (Some(*quote), &text[1..]),
        _ => (None, text),
    };
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        if quote.map_or(byte.is_ascii_whitespace(), |quote| *byte == quote) {
            return (&text[..at], &text[at + 1..]);
        }
        let escaped = *byte == b'\\' && text.get(at + 1).is_some_and(u8::is_ascii_whitespace);
        at += if escaped { 2 } else { 1 };
    }
    (text, b"")
}

/// A piece of a substitution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    /// This byte.
    Byte(u8),
    /// Anything: a back reference, a variable, a map.
    Any,
}

/// The pieces up to a `?`, where the query begins.
fn pieces(target: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(target.len());
    let mut at = 0;
    while let Some(byte) = target.get(at) {
        match (byte, target.get(at + 1)) {
            (b'?', _) => break,
            (b'\\', Some(next)) => {
                pieces.push(Piece::Byte(*next));
                at += 1;
            }
            (b'$' | b'%', Some(b'{')) => {
                pieces.push(Piece::Any);
                at += braces(&target[at + 1..]);
            }
            (b'$' | b'%', Some(digit)) if digit.is_ascii_digit() => {
                pieces.push(Piece::Any);
                at += 1;
            }
            (byte, _) => pieces.push(Piece::Byte(*byte)),
        }
        at += 1;
    }
    pieces
}

/// The length of what stands in braces, with them; all there is when they do not end.
fn braces(text: &[u8]) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    text.len()
}

/// Whether a target begins with `lb://`.
fn is_ours(target: &[u8]) -> bool {
    target.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"lb://"))
}

/// Whether a target begins with `lb://`, or with what a request, a variable or a map fills in and
/// may be that.
pub fn may_be_ours(target: &[u8]) -> bool {
    is_ours(target) || pieces(target).first() == Some(&Piece::Any)
}

/// Whether a target begins with `lb://` and a pool of this name, as the configuration wrote it. A
/// name that is made of variables is any name from there on.
pub fn names_pool(target: &[u8], pool: &[u8]) -> bool {
    let pieces = pieces(target);
    let scheme = b"lb://";
    let is = |piece: &Piece, byte: u8| matches!(piece, Piece::Byte(own) if own.eq_ignore_ascii_case(&byte));
    if pieces.len() < scheme.len() || !scheme.iter().zip(&pieces).all(|(byte, piece)| is(piece, *byte)) {
        return false;
    }
    let mut name = pool.iter();
    for piece in &pieces[scheme.len()..] {
        match piece {
            Piece::Any => return true,
            Piece::Byte(b'/') => break,
            piece => {
                if !name.next().is_some_and(|byte| is(piece, *byte)) {
                    return false;
                }
            }
        }
    }
    name.next().is_none()
}

/// Whether this target, with whatever a client may put into its variables, may have become `url`:
/// by itself, or behind `own`, the server's own name. Errs on the side of yes.
pub fn may_become(target: &[u8], url: &[u8], own: &[u8]) -> bool {
    let mut pieces = pieces(target);
    if matches(&authority(&pieces), url) {
        return true;
    }
    // A path may stand behind the directory of its section.
    pieces.insert(0, Piece::Any);
    url.strip_prefix(own).is_some_and(|path| matches(&pieces, path))
}

/// The part of a target before its path, with the slash where that begins; all of it when there is
/// no host.
fn authority(pieces: &[Piece]) -> Vec<Piece> {
    let slash = |piece: &Piece| *piece == Piece::Byte(b'/');
    let scheme = pieces.windows(2).position(|two| two.iter().all(slash)).map_or(0, |at| at + 2);
    let end = pieces[scheme..].iter().position(slash).map_or(pieces.len(), |at| scheme + at + 1);
    pieces[..end].to_vec()
}

/// Whether a text begins as the pieces say. Text that may be encoded on the way matches anything.
fn matches(pieces: &[Piece], text: &[u8]) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/:._-".contains(&byte);
    let mut rest = text;
    let mut floating = false;
    for run in pieces.split(|piece| !matches!(piece, Piece::Byte(byte) if is_plain(*byte))).enumerate() {
        let (nth, run) = run;
        floating |= nth > 0;
        let run: Vec<u8> =
            run.iter().map(|piece| if let Piece::Byte(byte) = piece { *byte } else { 0 }).collect();
        let at = match floating {
            _ if run.is_empty() => continue,
            false => rest.get(..run.len()).filter(|head| head.eq_ignore_ascii_case(&run)).map(|_| 0),
            true => rest.windows(run.len()).position(|part| part.eq_ignore_ascii_case(&run)),
        };
        let Some(at) = at else { return false };
        rest = &rest[at + run.len()..];
        floating = false;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_proxied_rules_have_a_target() {
        for (line, target) in [
            ("^/a lb://app/$1 [P]", Some("lb://app/$1")),
            ("  '^/a b' \"lb://app/x y\" \"[NC, p ,L]\"", Some("lb://app/x y")),
            ("^/a\\ b lb://app [E=a:b,Proxy]", Some("lb://app")),
            ("^/a lb://app", None),
            ("^/a lb://app [PT]", None),
            ("^/a lb://app [E=P:1]", None),
            ("^/a - [P]", None),
            ("^/a", None),
            ("", None),
            ("\"", None),
        ] {
            assert_eq!(proxied(line.as_bytes()), target.map(str::as_bytes), "{line}");
        }
    }

    #[test]
    fn a_pool_is_named_by_what_is_written() {
        for (target, pool, named) in [
            ("lb://app/$1", "app", true),
            ("LB://App", "app", true),
            ("lb://app?x=1", "app", true),
            ("lb://app", "ap", false),
            ("lb://app", "apple", false),
            ("lb://app-$1/x", "app-eu", true),
            ("lb://app-$1/x", "api-eu", false),
            ("lb://${pools:%{HTTP_HOST}|none}/$1", "any", true),
            ("$1", "app", false),
            ("/lb://app/", "app", false),
            ("http://lb://app", "app", false),
            ("%{HTTP:X}lb://app/", "app", false),
        ] {
            assert_eq!(names_pool(target.as_bytes(), pool.as_bytes()), named, "{target} {pool}");
        }
    }

    #[test]
    fn a_part_that_a_client_may_fill_in_may_become_a_pool() {
        let own = "http://pub";
        let url = "http://pub/lb://secret/p";
        for (target, may) in [
            ("http://pub/%{HTTP:X-Path}", true),
            ("http://PUB/a/$1", true),
            ("http://pub$1", true),
            ("http://%{HTTP_HOST}/x", true),
            ("%{REQUEST_SCHEME}://%{HTTP_HOST}/x", true),
            ("$1", true),
            ("/$1", true),
            ("${map:$1}", true),
            ("lb:$1", true),
            ("http://old/$1", false),
            ("http://%{HTTP_HOST}:8080/$1", false),
            ("https://pub/$1", false),
            ("http://pub.example/$1", false),
            ("balancer://app/$1", false),
            ("/static/$1", false),
            ("fcgi://127.0.0.1:9000/$1", false),
        ] {
            assert_eq!(may_become(target.as_bytes(), url.as_bytes(), own.as_bytes()), may, "{target}");
        }
        let long = format!("{url}/x:8080/http://old/");
        assert!(may_become(b"http://%{HTTP_HOST}:8080/$1", long.as_bytes(), own.as_bytes()));
    }

    proptest::proptest! {
        /// Any text may stand in the place of the variable.
        #[test]
        fn a_target_may_become_all_that_its_variables_make_of_it(
            head in "[a-z]{1,5}://[a-z.:0-9%{}/-]{0,12}", filled in "[ -~]{0,20}", tail in "[a-z/ ~]{0,6}"
        ) {
            let literal = head.replace(['%', '{', '}'], "");
            let target = format!("{literal}$1{tail}");
            let url = format!("{literal}{filled}{tail}");
            proptest::prop_assert!(may_become(target.as_bytes(), url.as_bytes(), b"http://own"));
            let relative = format!("http://own/dir/{filled}{tail}");
            let target = format!("$1{tail}");
            proptest::prop_assert!(may_become(target.as_bytes(), relative.as_bytes(), b"http://own"));
        }

        #[test]
        fn nothing_makes_it_panic(line in proptest::collection::vec(0_u8..128, 0..40), url in "[ -~]{0,30}") {
            if let Some(target) = proxied(&line) {
                names_pool(target, b"app");
            }
            names_pool(&line, b"app");
            may_become(&line, url.as_bytes(), b"http://own");
        }
    }
}
