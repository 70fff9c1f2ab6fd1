// SPDX-License-Identifier: Apache-2.0
//! Lua patterns with a step count: for subjects so long, or patterns so nested, that the plain
//! matcher could take for ever.
//!
//! Lua cannot stop one long call of `string.find`. The sandbox's string functions ask
//! [`longest_direct`] once a pattern how long a subject may be for the plain matcher, and come here
//! with longer ones. Semantics: Lua 5.4 reference manual, 6.4.1.

/// Steps that the plain matcher may take: some tens of milliseconds.
const DIRECT_STEPS: f64 = 4e6;
/// Bytes of a pattern that one step looks at, as a rule; what is longer makes steps as much longer.
const BYTES_A_STEP: f64 = 8.0;
/// Longest pattern that may have any subject. It may be meant as plain text, to be looked for
/// everywhere.
const MAX_ENDLESS: usize = 256;
/// Depth of recursion, as in Lua.
const MAX_DEPTH: u32 = 200;
/// Captures, as in Lua.
const MAX_CAPTURES: usize = 32;
/// Steps between two looks at the clock.
const CLOCK_STEPS: u32 = 16384;

/// The longest subject with which this pattern ends in time in the worst case. Each repetition can
/// be anywhere, each `?` doubles the ways, and at the end of each the rest of the pattern may match
/// all but for its last byte.
pub(crate) fn longest_direct(pattern: &[u8]) -> i64 {
    let anywhere = pattern.first() != Some(&b'^') || pattern.len() > MAX_ENDLESS;
    let (mut repeats, mut options) = (u32::from(anywhere), 0_u32);
    let mut at = 0;
    while at < pattern.len() {
        match pattern[at] {
            b'%' => {
                match pattern.get(at + 1) {
                    Some(b'b') => {
                        repeats += 1;
                        // Its two delimiters, whatever they are.
                        at += 2;
                    }
                    Some(digit) if digit.is_ascii_digit() => repeats += 1,
                    _ => {}
                }
                at += 1;
            }
            b'[' => at = set_end(pattern, at).unwrap_or(pattern.len()) - 1,
            b'*' | b'+' | b'-' => repeats += 1,
            b'?' => options += 1,
            _ => {}
        }
        at += 1;
    }
    if options > 20 {
        return 0;
    }
    let bytes = (pattern.len() as f64).max(BYTES_A_STEP);
    let steps = DIRECT_STEPS * BYTES_A_STEP / bytes / f64::from(1_u32 << options);
    match repeats {
        _ if steps < 1.0 => 0,
        0 => i64::MAX,
        n => steps.powf(1.0 / f64::from(n)) as i64,
    }
}

/// Index after the `]` of the set that starts at `at`.
fn set_end(pattern: &[u8], at: usize) -> Option<usize> {
    let mut p = at + 1;
    if pattern.get(p) == Some(&b'^') {
        p += 1;
    }
    let mut first = true;
    loop {
        match pattern.get(p)? {
            b']' if !first => return Some(p + 1),
            b'%' => p += 2,
            _ => p += 1,
        }
        first = false;
    }
}

/// Why matching ended without a verdict.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Failure {
    /// The pattern is wrong.
    Malformed(&'static str),
    /// The call is over.
    Over,
}

/// A capture: a range, or a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Capture {
    Range(usize, usize),
    Position(usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) captures: Vec<Capture>,
}

/// Finds the first match at or after `init`. With `anchored`, `^` is special at the start. `over`
/// is asked every few thousand steps whether the call is over.
pub(crate) fn find(
    subject: &[u8],
    pattern: &[u8],
    init: usize,
    anchored: bool,
    over: &dyn Fn() -> bool,
) -> Result<Option<Match>, Failure> {
    let (fixed, pattern) = match pattern.strip_prefix(b"^") {
        Some(rest) if anchored => (true, rest),
        _ => (false, pattern),
    };
    let mut matcher =
        Matcher { s: subject, p: pattern, captures: Vec::new(), depth: 0, left: CLOCK_STEPS, over };
    for start in init..=subject.len() {
        matcher.captures.clear();
        if let Some(end) = matcher.run(start, 0)? {
            let captures = matcher.finished()?;
            return Ok(Some(Match { start, end, captures }));
        }
        if fixed {
            break;
        }
    }
    Ok(None)
}

#[derive(Clone, Copy)]
enum Length {
    Open,
    Position,
    Closed(usize),
}

struct Matcher<'a> {
    s: &'a [u8],
    p: &'a [u8],
    captures: Vec<(usize, Length)>,
    depth: u32,
    left: u32,
    over: &'a dyn Fn() -> bool,
}

type Found = Result<Option<usize>, Failure>;

impl Matcher<'_> {
    fn step(&mut self) -> Result<(), Failure> {
        self.left -= 1;
        if self.left == 0 {
            self.left = CLOCK_STEPS;
            if (self.over)() {
                return Err(Failure::Over);
            }
        }
        Ok(())
    }

    /// Looking at so many bytes of the pattern or the subject is worth so many steps. The next step
    /// looks at the clock.
    fn look_at(&mut self, bytes: usize) {
        const BYTES_A_STEP: usize = 16;
        self.left = self.left.saturating_sub(u32::try_from(bytes / BYTES_A_STEP).unwrap_or(u32::MAX)).max(1);
    }

    fn finished(&self) -> Result<Vec<Capture>, Failure> {
        self.captures
            .iter()
            .map(|&(start, length)| match length {
                Length::Closed(length) => Ok(Capture::Range(start, start + length)),
                Length::Position => Ok(Capture::Position(start + 1)),
                Length::Open => Err(Failure::Malformed("unfinished capture")),
            })
            .collect()
    }

    fn run(&mut self, s: usize, p: usize) -> Found {
        if self.depth == MAX_DEPTH {
            return Err(Failure::Malformed("pattern too complex"));
        }
        self.depth += 1;
        let found = self.items(s, p);
        self.depth -= 1;
        found
    }

    fn items(&mut self, mut s: usize, mut p: usize) -> Found {
        loop {
            self.step()?;
            let Some(&item) = self.p.get(p) else { return Ok(Some(s)) };
            match item {
                b'(' if self.p.get(p + 1) == Some(&b')') => return self.open(s, p + 2, Length::Position),
                b'(' => return self.open(s, p + 1, Length::Open),
                b')' => return self.close(s, p + 1),
                b'$' if p + 1 == self.p.len() => return Ok((s == self.s.len()).then_some(s)),
                b'%' => match self.p.get(p + 1) {
                    Some(b'b') => match self.balanced(s, p + 2)? {
                        Some(end) => (s, p) = (end, p + 4),
                        None => return Ok(None),
                    },
                    Some(b'f') => match self.frontier(s, p + 2)? {
                        Some(next) => p = next,
                        None => return Ok(None),
                    },
                    Some(&digit) if digit.is_ascii_digit() => match self.back(s, digit)? {
                        Some(end) => (s, p) = (end, p + 2),
                        None => return Ok(None),
                    },
                    _ => match self.single_item(s, p)? {
                        Step::Next(next_s, next_p) => (s, p) = (next_s, next_p),
                        Step::Done(found) => return Ok(found),
                    },
                },
                _ => match self.single_item(s, p)? {
                    Step::Next(next_s, next_p) => (s, p) = (next_s, next_p),
                    Step::Done(found) => return Ok(found),
                },
            }
        }
    }

    /// A single character class with its suffix.
    fn single_item(&mut self, s: usize, p: usize) -> Result<Step, Failure> {
        let end = self.class_end(p)?;
        self.look_at(2 * (end - p));
        let here = self.matches(s, p, end);
        match self.p.get(end) {
            Some(b'?') => {
                if here && let Some(found) = self.run(s + 1, end + 1)? {
                    return Ok(Step::Done(Some(found)));
                }
                Ok(Step::Next(s, end + 1))
            }
            Some(b'+') => Ok(Step::Done(if here { self.most(s + 1, p, end)? } else { None })),
            Some(b'*') => Ok(Step::Done(self.most(s, p, end)?)),
            Some(b'-') => Ok(Step::Done(self.least(s, p, end)?)),
            _ if here => Ok(Step::Next(s + 1, end)),
            _ => Ok(Step::Done(None)),
        }
    }

    fn most(&mut self, s: usize, p: usize, end: usize) -> Found {
        let mut count = 0;
        while self.matches(s + count, p, end) {
            self.step()?;
            self.look_at(end - p);
            count += 1;
        }
        loop {
            if let Some(found) = self.run(s + count, end + 1)? {
                return Ok(Some(found));
            }
            if count == 0 {
                return Ok(None);
            }
            count -= 1;
        }
    }

    fn least(&mut self, mut s: usize, p: usize, end: usize) -> Found {
        loop {
            if let Some(found) = self.run(s, end + 1)? {
                return Ok(Some(found));
            }
            self.look_at(end - p);
            if !self.matches(s, p, end) {
                return Ok(None);
            }
            s += 1;
        }
    }

    fn open(&mut self, s: usize, p: usize, length: Length) -> Found {
        if self.captures.len() == MAX_CAPTURES {
            return Err(Failure::Malformed("too many captures"));
        }
        let level = self.captures.len();
        self.captures.push((s, length));
        let found = self.run(s, p)?;
        if found.is_none() {
            self.captures.truncate(level);
        }
        Ok(found)
    }

    fn close(&mut self, s: usize, p: usize) -> Found {
        let open = self.captures.iter().rposition(|(_, length)| matches!(length, Length::Open));
        let Some(level) = open else { return Err(Failure::Malformed("invalid pattern capture")) };
        let start = self.captures[level].0;
        self.captures[level].1 = Length::Closed(s - start);
        let found = self.run(s, p)?;
        if found.is_none() {
            self.captures[level].1 = Length::Open;
        }
        Ok(found)
    }

    fn back(&mut self, s: usize, digit: u8) -> Found {
        let level = usize::from(digit.wrapping_sub(b'1'));
        let Some(&(start, Length::Closed(length))) = self.captures.get(level) else {
            return Err(Failure::Malformed("invalid capture index"));
        };
        self.look_at(length);
        let same = self.s[s..].starts_with(&self.s[start..start + length]);
        Ok(same.then_some(s + length))
    }

    fn balanced(&mut self, s: usize, p: usize) -> Found {
        let (Some(&open), Some(&close)) = (self.p.get(p), self.p.get(p + 1)) else {
            return Err(Failure::Malformed("malformed pattern (missing arguments to '%b')"));
        };
        if self.s.get(s) != Some(&open) {
            return Ok(None);
        }
        let mut level = 1_usize;
        for at in s + 1..self.s.len() {
            self.step()?;
            let byte = self.s[at];
            if byte == close {
                level -= 1;
                if level == 0 {
                    return Ok(Some(at + 1));
                }
            } else if byte == open {
                level += 1;
            }
        }
        Ok(None)
    }

    fn frontier(&mut self, s: usize, p: usize) -> Found {
        if self.p.get(p) != Some(&b'[') {
            return Err(Failure::Malformed("missing '[' after '%f' in pattern"));
        }
        let end = self.class_end(p)?;
        let before = if s == 0 { 0 } else { self.s[s - 1] };
        let here = self.s.get(s).copied().unwrap_or(0);
        let edge = !self.in_set(before, p, end - 1) && self.in_set(here, p, end - 1);
        Ok(edge.then_some(end))
    }

    fn class_end(&self, p: usize) -> Result<usize, Failure> {
        match self.p[p] {
            b'%' if p + 1 >= self.p.len() => Err(Failure::Malformed("malformed pattern (ends with '%')")),
            b'%' => Ok(p + 2),
            b'[' => match set_end(self.p, p) {
                Some(end) if end <= self.p.len() => Ok(end),
                _ => Err(Failure::Malformed("malformed pattern (missing ']')")),
            },
            _ => Ok(p + 1),
        }
    }

    fn matches(&self, s: usize, p: usize, end: usize) -> bool {
        let Some(&byte) = self.s.get(s) else { return false };
        match self.p[p] {
            b'.' => true,
            b'%' => class(byte, self.p[p + 1]),
            b'[' => self.in_set(byte, p, end - 1),
            own => own == byte,
        }
    }

    /// `open` is the place of `[`, `close` that of `]`.
    fn in_set(&self, byte: u8, open: usize, close: usize) -> bool {
        let mut p = open + 1;
        let negated = self.p[p] == b'^';
        if negated {
            p += 1;
        }
        while p < close {
            if self.p[p] == b'%' {
                if class(byte, self.p[p + 1]) {
                    return !negated;
                }
                p += 2;
            } else if p + 2 < close && self.p[p + 1] == b'-' {
                if (self.p[p]..=self.p[p + 2]).contains(&byte) {
                    return !negated;
                }
                p += 3;
            } else {
                if self.p[p] == byte {
                    return !negated;
                }
                p += 1;
            }
        }
        negated
    }
}

enum Step {
    Next(usize, usize),
    Done(Option<usize>),
}

fn class(byte: u8, class: u8) -> bool {
    let inside = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'g' => byte.is_ascii_graphic(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == 0x0b,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        _ => return class == byte,
    };
    inside != class.is_ascii_uppercase()
}

#[cfg(test)]
mod tests;
