// SPDX-License-Identifier: Apache-2.0
//! What scripts have of httpd's expression language (`r:expr`). A text is read as httpd's own
//! scanner reads it, and one that this reader is not sure of is refused. Sub-requests are refused:
//! they would run the script again. In the sandbox there are no files and no environment of the
//! server. The searches of `=~` and `!~` get a limit of steps.

/// Longest expression, in bytes. httpd's own parts are at most as long.
const MOST_TEXT: usize = 8000;
/// Longest pattern, which has to fit into httpd's room with what is put around it.
const MOST_PATTERN: usize = 4000;
/// Variables inside of others.
const MOST_DEPTH: u32 = 8;
/// Put before a pattern. All places where a match could begin are tried in one search from the
/// start, so that the steps are those of all of them. They take some hundredths of a second, and
/// depth takes memory.
const BEFORE: &str = r"(*LIMIT_MATCH=300000)(*LIMIT_RECURSION=10000)\A[\s\S]*?\K(?:";
const BEHIND: &str = ")";
/// The steps in it, and what they may go through: each step may be one through all of a text.
const MOST_STEPS: usize = 300_000;
const MOST_PASSED: usize = 50_000_000;
/// Bytes of text that an expression may go through or put together.
const MOST_MADE: usize = 4 << 20;
/// Functions that make their text longer, three times at most.
const GROWING: [&str; 4] = ["base64", "escape", "ldap", "replace"];
/// Longest text that a pattern may be asked about.
const MOST_SEARCHED: usize = 10 << 10;
/// A pattern of a checked expression without what was put around it.
pub(crate) fn limited_pattern(pattern: &str) -> Option<&str> {
    pattern.strip_prefix(BEFORE)?.strip_suffix(BEHIND)
}

/// What may stand around a pattern after `m`.
const MARKS: &[u8] = b"/#$%^,;:_?|-!.'\"";
/// What may stand around it with `BEFORE` inside.
const OWN_MARKS: &[u8] = b"/#%;,!|\"'";

/// An expression that scripts may use.
#[derive(Debug, PartialEq)]
pub(crate) struct Checked {
    /// With its searches limited.
    pub(crate) text: String,
    /// The patterns as they were. Each has to be one by itself.
    pub(crate) patterns: Vec<String>,
    /// Variables and calls of functions: each may be a text of the request.
    parts: usize,
    /// Functions that make their text longer.
    growing: u32,
}

impl Checked {
    /// Whether the texts of the request have to be looked at first.
    pub(crate) fn may_be_costly(&self) -> bool {
        !self.patterns.is_empty() || self.parts > 1 || self.growing > 0
    }

    /// Bytes of all its texts, where no text that the request holds is longer than this.
    fn made(&self, longest: usize) -> usize {
        let grown = 3_usize.saturating_pow(self.growing).saturating_mul(longest);
        grown.saturating_mul(self.parts.max(1)).max(self.text.len())
    }

    /// Err where it would put together or go through too much.
    pub(crate) fn may_make(&self, longest: usize) -> Result<(), String> {
        if self.made(longest) <= MOST_MADE {
            return Ok(());
        }
        Err(format!(
            "not available in r:expr: variables and functions whose texts may have more than {} MiB together",
            MOST_MADE >> 20
        ))
    }

    /// The expression where no text that the request holds is longer than this: longer ones get
    /// fewer steps.
    pub(crate) fn within(self, longest: usize) -> Result<String, String> {
        let made = self.made(longest);
        if made > MOST_SEARCHED * self.parts.max(1) {
            return Err(format!(
                "not available in r:expr: a pattern where a text of the request has more than {} KiB",
                MOST_SEARCHED >> 10
            ));
        }
        let steps = (MOST_PASSED / made).min(MOST_STEPS);
        Ok(self.text.replace("(*LIMIT_MATCH=300000)", &format!("(*LIMIT_MATCH={steps})")))
    }
}

/// Looks through an expression. Err is what the script is told.
pub(crate) fn checked(text: &[u8], sandbox: bool) -> Result<Checked, String> {
    if text.len() > MOST_TEXT {
        return Err(format!("an expression of more than {MOST_TEXT} bytes"));
    }
    let mut reader = Reader { text, out: Vec::with_capacity(text.len()), sandbox, ..Reader::default() };
    reader.condition()?;
    let utf8 = |bytes| String::from_utf8(bytes).map_err(|_| "an expression that is not UTF-8".to_owned());
    let patterns = reader.patterns.into_iter().map(utf8).collect::<Result<_, _>>()?;
    Ok(Checked { text: utf8(reader.out)?, patterns, parts: reader.parts, growing: reader.growing })
}

/// An expression that is one search: `WORD =~ /pattern/` or `!~`, with nothing around it.
#[derive(Debug, PartialEq)]
pub(crate) struct Alone<'t> {
    /// What is searched, as a string expression.
    pub(crate) word: &'t str,
    pub(crate) is_negated: bool,
    pub(crate) pattern: &'t str,
    pub(crate) flags: &'t str,
}

/// A checked expression, if it is one search: the clock bounds it, and no limit of steps has to.
pub(crate) fn alone(text: &[u8]) -> Option<Alone<'_>> {
    let blank = |c: char| c.is_ascii_whitespace();
    let text = std::str::from_utf8(text).ok()?.trim_matches(blank);
    let (word, rest) = only_word(text)?;
    let rest = rest.trim_start_matches(blank);
    let (is_negated, rest) = match (rest.strip_prefix("=~"), rest.strip_prefix("!~")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => return None,
    };
    let rest = rest.trim_start_matches(blank);
    let (rest, marks) = rest.strip_prefix('m').map_or((rest, b"/".as_slice()), |rest| (rest, MARKS));
    let mark = char::from(*rest.as_bytes().first().filter(|mark| marks.contains(mark))?);
    let (pattern, flags) = rest.get(1..)?.split_once(mark)?;
    matches!(flags, "" | "i").then_some(Alone { word, is_negated, pattern, flags })
}

/// A string or a variable that reads the same as a string expression, and what stands behind it.
fn only_word(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = match text.chars().next()? {
        mark @ ('"' | '\'') => text[1..].split_once(mark)?,
        '%' => text.split_at_checked(text.find('}')? + 1)?,
        _ => return None,
    };
    let is_plain = !word.contains(['\\', '$', '\n']) && !nests(word);
    is_plain.then_some((word, rest))
}

/// Whether a variable stands inside of another one.
fn nests(word: &str) -> bool {
    word.split("%{").skip(1).any(|inner| !inner.contains('}'))
}

#[derive(Default)]
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    out: Vec<u8>,
    patterns: Vec<Vec<u8>>,
    sandbox: bool,
    parts: usize,
    growing: u32,
}

fn grows(name: &[u8]) -> bool {
    GROWING.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

impl Reader<'_> {
    fn next(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn after(&self) -> Option<u8> {
        self.text.get(self.at + 1).copied()
    }

    /// Copies bytes.
    fn copy(&mut self, count: usize) {
        let end = self.text.len().min(self.at + count);
        self.out.extend_from_slice(&self.text[self.at..end]);
        self.at = end;
    }

    /// The letters, digits and underscores from here on.
    fn word(&self) -> &[u8] {
        let rest = &self.text[self.at..];
        &rest[..rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len())]
    }

    fn condition(&mut self) -> Result<(), String> {
        while let Some(byte) = self.next() {
            match byte {
                b'"' | b'\'' => self.string(byte)?,
                b'%' if self.after() == Some(b'{') => self.variable(0)?,
                b'-' if self.after().is_some_and(|next| next.is_ascii_alphabetic() || next == b'_') => {
                    self.operator()?;
                }
                b'/' => {
                    self.at += 1;
                    self.pattern(b'/')?;
                }
                _ if byte.is_ascii_alphabetic() => self.name()?,
                _ => self.copy(1),
            }
        }
        Ok(())
    }

    /// `-f`, `-eq`: those of one letter have one operand.
    fn operator(&mut self) -> Result<(), String> {
        self.copy(1);
        let length = self.word().len();
        if length == 1 {
            self.one_letter(self.text[self.at])?;
        }
        self.copy(length);
        Ok(())
    }

    fn one_letter(&self, letter: u8) -> Result<(), String> {
        let name = char::from(letter);
        match letter {
            b'F' | b'U' | b'A' => Err(format!(
                "the operator -{name} is not available in r:expr: it makes a sub-request, for which the script would run again"
            )),
            b'd' | b'e' | b'f' | b's' | b'L' | b'h' | b'x' if self.sandbox => {
                Err(in_sandbox(&format!("the operator -{name}"), "looks at files"))
            }
            _ => Ok(()),
        }
    }

    /// A function, an operator or the `m` of a pattern.
    fn name(&mut self) -> Result<(), String> {
        let (word, length) = (self.word(), self.word().len());
        let mark = self.text.get(self.at + length).copied().filter(|mark| MARKS.contains(mark));
        match (word, mark) {
            (b"m", Some(mark)) => {
                self.at += 2;
                return self.pattern(mark);
            }
            (b"s", Some(_)) | (b"m_" | b"s_", _) => return Err(unsure("s/…/…/ and marks of '_'")),
            _ => self.function(word)?,
        }
        let behind = &self.text[self.at + length..];
        let grows = grows(word);
        if behind.trim_ascii_start().first() == Some(&b'(') {
            self.parts += 1;
            self.growing += u32::from(grows);
        }
        self.copy(length);
        Ok(())
    }

    fn function(&self, name: &[u8]) -> Result<(), String> {
        if !self.sandbox {
            return Ok(());
        }
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if let Some(name) = ["file", "filesize", "filemod"].iter().find(|name| is(name)) {
            return Err(in_sandbox(&format!("the function {name}()"), "reads files"));
        }
        if is("osenv") {
            return Err(in_sandbox("the function osenv()", "reads the server's environment"));
        }
        Ok(())
    }

    fn string(&mut self, mark: u8) -> Result<(), String> {
        self.copy(1);
        loop {
            match self.next().ok_or_else(|| unsure("a string without an end"))? {
                b'\\' => self.copy(2),
                b'%' if self.after() == Some(b'{') => self.variable(0)?,
                byte => {
                    self.copy(1);
                    if byte == mark {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// `%{NAME}`, `%{function:text}`, with further ones in the text.
    fn variable(&mut self, depth: u32) -> Result<(), String> {
        if depth > MOST_DEPTH {
            return Err(unsure("variables nested as deep"));
        }
        self.copy(2);
        let length = self.word().len();
        self.function(self.word())?;
        self.parts += 1;
        self.growing += u32::from(grows(self.word()));
        self.copy(length);
        match self.next() {
            Some(b'}') if length > 0 => self.copy(1),
            Some(b':') if length > 0 => {
                self.copy(1);
                self.argument(depth)?;
            }
            _ => return Err(unsure("a variable that is none, such as %{HTTP_HOST} or %{HTTP:Host}")),
        }
        Ok(())
    }

    fn argument(&mut self, depth: u32) -> Result<(), String> {
        loop {
            match self.next() {
                None | Some(b'"' | b'\'' | b'\n') => return Err(unsure("a variable without an end")),
                Some(b'\\') => self.copy(2),
                Some(b'%') if self.after() == Some(b'{') => self.variable(depth + 1)?,
                Some(b'}') => {
                    self.copy(1);
                    return Ok(());
                }
                Some(_) => self.copy(1),
            }
        }
    }

    /// A pattern up to its mark, and its flag.
    fn pattern(&mut self, mark: u8) -> Result<(), String> {
        let rest = &self.text[self.at..];
        let end =
            rest.iter().position(|byte| *byte == mark).ok_or_else(|| unsure("a pattern without an end"))?;
        let pattern = &rest[..end];
        may_be_limited(pattern)?;
        let usable = |mark: &u8| OWN_MARKS.contains(mark) && !pattern.contains(mark);
        let own = [mark].into_iter().chain(OWN_MARKS.iter().copied()).find(usable);
        let own = own.ok_or_else(|| unsure("a pattern with every mark in it"))?;
        self.out.extend_from_slice(&[b' ', b'm', own]);
        self.out.extend_from_slice(BEFORE.as_bytes());
        self.out.extend_from_slice(pattern);
        self.out.extend_from_slice(BEHIND.as_bytes());
        self.out.push(own);
        self.patterns.push(pattern.to_vec());
        self.at += end + 1;
        match self.word() {
            b"" => Ok(()),
            b"i" => {
                self.copy(1);
                Ok(())
            }
            _ => Err(unsure("flags of a pattern other than i")),
        }
    }
}

/// Whether a limit can be put around a pattern: not with verbs of its own, nor where it calls
/// itself as a whole.
fn may_be_limited(pattern: &[u8]) -> Result<(), String> {
    if pattern.len() > MOST_PATTERN {
        return Err(format!("a pattern of more than {MOST_PATTERN} bytes"));
    }
    let holds = |part: &[u8]| pattern.windows(part.len()).any(|window| window == part);
    let verb = pattern.windows(2).enumerate().any(|(at, pair)| {
        let escapes = pattern[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
        pair == b"(*" && escapes % 2 == 0
    });
    if verb {
        return Err("a pattern with verbs, (*…), is not available in r:expr".to_owned());
    }
    if [b"(?R".as_slice(), b"(?0", b"\\g<0", b"\\g'0", b"\\Q"].iter().any(|part| holds(part)) {
        return Err("(?R) and \\Q in a pattern are not available in r:expr".to_owned());
    }
    Ok(())
}

fn in_sandbox(what: &str, why: &str) -> String {
    format!("{what} is not available in r:expr: it {why}, which LuaBalancerSandbox on keeps from scripts")
}

fn unsure(what: &str) -> String {
    format!("not available in r:expr: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_get_fewer_steps_and_longer_ones_none() {
        let of = |text: &str| checked(text.as_bytes(), true).expect("an expression");
        let steps = |text: &str, longest| of(text).within(longest);
        let one = "%{note:x} =~ /a+b/";
        assert!(steps(one, 160).is_ok_and(|text| text.contains("LIMIT_MATCH=300000)")));
        assert!(steps(one, 8 << 10).is_ok_and(|text| text.contains("LIMIT_MATCH=6103)")));
        assert!(
            steps("'%{note:x}%{note:y}' =~ /a+b/", 8 << 10)
                .is_ok_and(|text| text.contains("LIMIT_MATCH=3051)"))
        );
        assert!(steps(one, 11 << 10).is_err());
        assert!(steps("base64(%{note:x}) =~ /a+b/", 8 << 10).is_err());
        assert!(!of("%{note:x} == 'a'").may_be_costly());
        // Functions give texts of the request as variables do.
        let twice = "note('x') =~ /a+b/ || req ('y') =~ /a+b/";
        assert!(steps(twice, 8 << 10).is_ok_and(|text| text.contains("LIMIT_MATCH=3051)")));
    }

    #[test]
    fn what_puts_long_texts_together_is_refused() {
        let of =
            |text: &str, longest| checked(text.as_bytes(), true).expect("an expression").may_make(longest);
        let chain = |part: &str| format!("{} == 'a'", vec![part; 300].join("."));
        assert!(of(&chain("note('x')"), 1 << 10).is_ok());
        assert!(of(&chain("note('x')"), 1 << 20).is_err());
        assert!(of(&chain("%{note:x}"), 1 << 20).is_err());
        assert!(of("base64(base64(base64(%{note:x}))) == 'a'", 8 << 10).is_ok());
        assert!(of("'%{base64:%{base64:%{base64:%{note:x}}}}' == 'a'", 8 << 10).is_ok());
        let nested = format!("{}%{{note:x}}{} == 'a'", "Base64 (".repeat(12), ")".repeat(12));
        assert!(of(&nested, 8 << 10).is_err());
    }

    #[test]
    fn one_search_is_told_from_what_has_more_to_it() {
        for (text, word, pattern, flags) in [
            ("%{HTTP_HOST} =~ /^a/", "%{HTTP_HOST}", "^a", ""),
            (" '%{HTTP:X}-%{note:y}'=~m#/b#i ", "%{HTTP:X}-%{note:y}", "/b", "i"),
            ("\"it's\"\t=~ /'/", "it's", "'", ""),
            ("'' =~ m/a|b/", "", "a|b", ""),
        ] {
            let found = Alone { word, is_negated: false, pattern, flags };
            assert_eq!(alone(text.as_bytes()), Some(found), "{text}");
            let negated = text.replacen("=~", "!~", 1);
            assert!(alone(negated.as_bytes()).is_some_and(|found| found.is_negated), "{negated}");
        }
        for text in [
            "%{HTTP_HOST} =~ /^a/ && true",
            "!%{HTTP_HOST} =~ /^a/",
            "%{HTTP_HOST}.'a' =~ /^a/",
            "'a' 'b' =~ /^a/",
            "'a\\'b' =~ /^a/",
            "'$1' =~ /^a/",
            "'%{escape:%{HTTP_HOST}}' =~ /^a/",
            "%{escape:%{HTTP_HOST}} =~ /^a/",
            "tolower('A') =~ /^a/",
            "%{HTTP_HOST} == 'a'",
            "-z '' =~ /a/",
        ] {
            assert_eq!(alone(text.as_bytes()), None, "{text}");
        }
    }

    fn found(text: &str) -> Result<(String, Vec<String>), String> {
        checked(text.as_bytes(), true).map(|checked| (checked.text, checked.patterns))
    }

    fn limited(pattern: &str) -> String {
        format!("{BEFORE}{pattern}{BEHIND}")
    }

    #[test]
    fn what_has_no_pattern_stays_as_it_is() {
        for text in [
            "",
            "true",
            "%{REQUEST_METHOD} == 'GET'",
            "-n %{HTTP_COOKIE} && !(-z %{QUERY_STRING})",
            "%{HTTP:X-File} -in {'a', \"b -U '\", '\\'-U'}",
            "tolower(%{HTTP_HOST}) == 'it''s' || -R '10.0.0.0/8'",
            "'x-F' == 'GROUP-A' and %{TIME_HOUR} -gt 5",
            "%{HTTP_HOST} -strmatch '*.example.*' or 'file' == \"osenv('x')\"",
            "'%{HTTP_HOST}:%{escape:a/b}' == 'm/x/'",
            "%{escape:a%{tolower:%{REQUEST_URI}}b}.%{HTTP_HOST} == '/x'",
            "'100%' == '%%{HTTP_HOST}'",
        ] {
            assert_eq!(found(text), Ok((text.to_owned(), Vec::new())), "{text}");
        }
    }

    #[test]
    fn patterns_get_their_limit_whatever_stands_around_them() {
        for (text, expected, patterns) in [
            ("'a' =~ /b+/", format!("'a' =~  m/{}/", limited("b+")), vec!["b+"]),
            ("'a' =~ m#b/c#i", format!("'a' =~  m#{}#i", limited("b/c")), vec!["b/c"]),
            ("'a' =~ m:b:", format!("'a' =~  m/{}/", limited("b")), vec!["b"]),
            ("'a' =~ m.b/c.", format!("'a' =~  m#{}#", limited("b/c")), vec!["b/c"]),
            (
                "'/'=~/'/&&'a'!~/-U/",
                format!("'/'=~ m/{}/&&'a'!~ m/{}/", limited("'"), limited("-U")),
                vec!["'", "-U"],
            ),
            ("am/x/", format!("am m/{}/", limited("x")), vec!["x"]),
            ("'a' =~ /\\(*/", format!("'a' =~  m/{}/", limited("\\(*")), vec!["\\(*"]),
        ] {
            let patterns = patterns.into_iter().map(str::to_owned).collect();
            assert_eq!(found(text), Ok((expected, patterns)), "{text}");
        }
    }

    #[test]
    fn sub_requests_are_refused_with_and_without_sandbox() {
        for text in [
            "-U '/x'",
            "-F'/x'",
            "-A \"/x\"",
            "!-U '/x'",
            "true&&-U '/x'",
            "(-U '/x')",
            "'a' == 'b' || -U\t'/x'",
            "'\\'' == 'a' || -U '/x'",
            "%{HTTP_HOST} =~ /'/ || -U '/x'",
            "'%{HTTP:a\\}b}' == '' || -U '/x'",
            "'\"' == 'a' || -U '/x'",
            "'%' == 'a' || -U '%{REQUEST_URI}'",
            "m/x/||-U '/x'",
            "-f'x'||-F '/x'",
        ] {
            for sandbox in [true, false] {
                let error = checked(text.as_bytes(), sandbox).unwrap_err();
                assert!(
                    error.contains("sub-request") || sandbox && error.contains("files"),
                    "{text}: {error}"
                );
            }
        }
    }

    #[test]
    fn files_and_the_environment_are_out_of_reach_in_the_sandbox_alone() {
        for text in [
            "file('/p') =~ /x/",
            "FILE ('/p') == 'x'",
            "filesize('/p') -gt 0",
            "fileMod('/p') -gt 0",
            "-f '/p'",
            "-d '/p'",
            "-e '/p'",
            "-s '/p'",
            "-L '/p'",
            "-h '/p'",
            "-x '/p'",
            "'%{file:/p}' == 'x'",
            "'a%{OSENV:P}' == 'x'",
            "osenv('P') == 'x'",
            "%{filesize:/p} == 1",
            "'%{escape:%{file:/p}}' == 'x'",
            "md5(file('/p')) == 'x'",
            "'a' -in {file('/p')}",
        ] {
            let error = checked(text.as_bytes(), true).unwrap_err();
            assert!(error.contains("LuaBalancerSandbox on"), "{text}: {error}");
            assert!(checked(text.as_bytes(), false).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for text in [
            "'a",
            "\"a'",
            "'a' =~ /b",
            "'a' =~ /b/im",
            "'a' =~ /b/x",
            "%{",
            "%{:-U '/x':}",
            "'%{:file('/p'):}'",
            "%{a b}",
            "%{HTTP:a'}' || -U '/x'",
            "'%{HTTP:a\"}'",
            "'%{escape:%{a'}}'",
            "s/a/b/",
            "'a' =~ m_(b)_",
            "'a' =~ /(*LIMIT_MATCH=9999999)b/",
            "'a' =~ /a(*SKIP)b/",
            "'a' =~ /\\\\(*ACCEPT)/",
            "'a' =~ /(a|(?R))/",
            "'a' =~ /\\Qa/",
            "'a\\",
        ] {
            assert!(checked(text.as_bytes(), false).is_err(), "{text}");
        }
        assert!(checked("x".repeat(MOST_TEXT + 1).as_bytes(), false).is_err());
        assert!(checked(b"'\xff' == 'a'", false).is_err());
    }
}
