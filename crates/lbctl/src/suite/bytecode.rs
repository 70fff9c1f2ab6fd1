// SPDX-License-Identifier: Apache-2.0
//! The lines of a script that have code, by the output of Lua's compiler (the format of
//! `string.dump`, Lua 5.4).

use std::collections::BTreeSet;

use mlua::Lua;

/// Lines of a script that hold more than `end`, `else` or brackets. None: it does not compile.
pub fn code_lines(text: &[u8]) -> Option<BTreeSet<usize>> {
    let shown = match text.strip_prefix(b"#") {
        Some(_) => [b"--".as_slice(), text].concat(),
        None => text.to_vec(),
    };
    let dump = Lua::new().load(shown.as_slice()).into_function().ok()?.dump(false);
    let mut reader = Reader { bytes: &dump, lines: BTreeSet::new() };
    reader.skip(HEADER)?;
    reader.function()?;
    let written: Vec<String> =
        String::from_utf8_lossy(text).lines().map(|line| line.trim().to_owned()).collect();
    let says = |line: &usize| written.get(line.wrapping_sub(1)).is_some_and(|line| says_something(line));
    Some(reader.lines.into_iter().filter(says).collect())
}

/// Whether a line holds more than words that close something.
fn says_something(line: &str) -> bool {
    let line = line.split("--").next().unwrap_or_default();
    let mut words = line.split(|letter: char| letter.is_whitespace() || "()[]{},;".contains(letter));
    words.any(|word| !matches!(word, "" | "end" | "else"))
}

/// Signature, version, format, check data, sizes, the two numbers, the count of upvalues.
const HEADER: usize = 4 + 1 + 1 + 6 + 3 + 8 + 8 + 1;

struct Reader<'d> {
    bytes: &'d [u8],
    lines: BTreeSet<usize>,
}

impl Reader<'_> {
    fn skip(&mut self, count: usize) -> Option<()> {
        self.bytes = self.bytes.get(count..)?;
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    /// A number in groups of seven bits, the highest first; the last has a mark.
    fn number(&mut self) -> Option<usize> {
        let mut number: usize = 0;
        loop {
            let byte = self.byte()?;
            number = number.checked_mul(128)?.checked_add(usize::from(byte & 0x7f))?;
            if byte & 0x80 != 0 {
                return Some(number);
            }
        }
    }

    fn text(&mut self) -> Option<()> {
        match self.number()? {
            0 => Some(()),
            size => self.skip(size - 1),
        }
    }

    fn each(&mut self, mut one: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        let count = self.number()?;
        (0..count).try_for_each(|_| one(self))
    }

    fn function(&mut self) -> Option<()> {
        self.text()?;
        let first = self.number()?;
        self.number()?;
        self.byte()?;
        let takes_any = self.byte()? != 0;
        self.byte()?;
        self.each(|reader| reader.skip(4))?;
        self.each(Self::constant)?;
        self.each(|reader| reader.skip(3))?;
        self.each(Self::function)?;
        let count = self.number()?;
        let steps = self.bytes.get(..count)?.to_vec();
        self.skip(count)?;
        let mut fixed = Vec::new();
        self.each(|reader| {
            fixed.push((reader.number()?, reader.number()?));
            Some(())
        })?;
        self.each(|reader| {
            reader.text()?;
            reader.number()?;
            reader.number().map(drop)
        })?;
        self.each(Self::text)?;
        self.note(first, &steps, &fixed, takes_any)
    }

    fn constant(&mut self) -> Option<()> {
        match self.byte()? {
            0x03 | 0x13 => self.skip(8),
            0x04 | 0x14 => self.text(),
            _ => Some(()),
        }
    }

    /// Lines by their steps from one instruction to the next; some are written out. The first
    /// instruction of a function of any arguments only makes room for them.
    fn note(&mut self, first: usize, steps: &[u8], fixed: &[(usize, usize)], takes_any: bool) -> Option<()> {
        const WRITTEN_OUT: i8 = -0x80;
        let mut line = first;
        for (at, step) in steps.iter().enumerate() {
            match step.cast_signed() {
                WRITTEN_OUT => line = fixed.iter().find(|(known, _)| *known == at)?.1,
                step => line = line.checked_add_signed(isize::from(step))?,
            }
            if at > 0 || !takes_any {
                self.lines.insert(line);
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::code_lines;

    #[test]
    fn lines_of_code_are_those_that_can_run() {
        let text = "-- a comment\nlocal a = 1\nlocal function f(x)\n  if x then\n    return {\n      x,\n    }\n  \
                    else\n    return nil\n  end\nend\n\nreturn f(\n  a\n)\n";
        let lines: Vec<usize> = code_lines(text.as_bytes()).unwrap().into_iter().collect();
        assert_eq!(lines, [2, 4, 5, 9, 13]);
    }

    #[test]
    fn long_functions_have_their_lines_too() {
        let many: String = (0..400).map(|n| format!("x{} = {n}\n\n\n", n % 7)).collect();
        let far = format!("a = 1\n{}b = 2\n", "\n".repeat(300));
        assert_eq!(code_lines(many.as_bytes()).unwrap().len(), 400);
        assert_eq!(code_lines(far.as_bytes()).unwrap().into_iter().collect::<Vec<_>>(), [1, 302]);
        assert_eq!(code_lines(b"x ="), None);
    }
}
