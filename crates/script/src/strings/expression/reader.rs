// SPDX-License-Identifier: Apache-2.0
//! Reads an expression as httpd's scanner does, and puts a limit around its patterns.

/// Longest pattern, which has to fit into httpd's room with what is put around it.
const MOST_PATTERN: usize = 4000;
/// Variables inside of others.
const MOST_DEPTH: u32 = 8;
/// Put before a pattern. All places where a match could begin are tried in one search from the
/// start, so that the steps are those of all of them. They take some hundredths of a second, and
/// depth takes memory.
pub(super) const BEFORE: &str = r"(*LIMIT_MATCH=300000)(*LIMIT_RECURSION=10000)\A[\s\S]*?\K(?:";
pub(super) const BEHIND: &str = ")";
/// Functions that make their text longer, three times at most.
const GROWING: [&str; 4] = ["base64", "escape", "ldap", "replace"];
/// The delimiters that may stand around a pattern after `m`.
pub(super) const MARKS: &[u8] = b"/#$%^,;:_?|-!.'\"";
/// The delimiters that may stand around it with `BEFORE` inside.
const OWN_MARKS: &[u8] = b"/#%;,!|\"'";

/// Goes through an expression once, and writes it anew with its searches limited.
#[derive(Default)]
pub(super) struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    pub(super) out: Vec<u8>,
    /// The patterns as they were.
    pub(super) patterns: Vec<Vec<u8>>,
    sandbox: bool,
    /// Variables and calls of functions.
    pub(super) parts: usize,
    /// Functions that make their text longer.
    pub(super) growing: u32,
}

fn grows(name: &[u8]) -> bool {
    GROWING.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a [u8], sandbox: bool) -> Self {
        Self { text, sandbox, out: Vec::with_capacity(text.len()), ..Self::default() }
    }
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

    /// Reads all of it. Err is what the script is told.
    pub(super) fn condition(&mut self) -> Result<(), String> {
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
            _ => {
                return Err(unsure(
                    "a name that is not one of a variable, such as %{HTTP_HOST} or %{HTTP:Host}",
                ));
            }
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
