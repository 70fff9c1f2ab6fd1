# SPDX-License-Identifier: Apache-2.0
"""Source files of the project, and Rust's text without comments and strings."""

import re
import subprocess
from functools import lru_cache
from pathlib import Path

TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)
      | (?P<raw>\b[bc]?r(?P<hashes>\#*)".*?"(?P=hashes))
      | (?P<string>[bc]?"(?:\\.|[^"\\])*")
      | (?P<char>b?'(?:\\(?:x[0-9a-fA-F]{2}|u\{[0-9a-fA-F]+\}|.)|[^\\'\n])')""",
    re.VERBOSE | re.DOTALL,
)


@lru_cache(None)
def files() -> tuple[str, ...]:
    """All files that git knows, deleted ones left out."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return tuple(sorted(name for name in set(names.split("\0")) if name and Path(name).is_file()))


def named(*patterns: str) -> list[str]:
    """The files whose whole names match one of the patterns."""
    return [name for name in files() if any(re.fullmatch(pattern, name) for pattern in patterns)]


@lru_cache(None)
def text(name: str) -> str:
    """A file's text."""
    return Path(name).read_text(encoding="utf-8")


def blank(found: str) -> str:
    """As many lines, with nothing in them."""
    return "\n" * found.count("\n") or " "


@lru_cache(None)
def code(name: str) -> str:
    """A Rust file without its comments, and with empty strings."""

    def replaced(match: re.Match) -> str:
        quotes = '""' if match["raw"] or match["string"] else "' '" if match["char"] else ""
        return quotes + blank(match[0])

    return TOKEN.sub(replaced, text(name))


def closing(source: str, at: int) -> int:
    """Where the bracket that opens at this place is closed."""
    pairs = {"(": ")", "[": "]", "{": "}"}
    opened, closes = source[at], pairs[source[at]]
    depth = 0
    for match in re.compile(re.escape(opened) + "|" + re.escape(closes)).finditer(source, at):
        depth += 1 if match[0] == opened else -1
        if depth == 0:
            return match.start()
    return len(source)


@lru_cache(None)
def production(name: str) -> str:
    """The same without what is compiled for tests only; lines keep their numbers."""
    source, start = code(name), 0
    test = re.compile(
        r"#\[cfg\((?:test|all\(test\b[^\]]*)\)\]\s*(?:#\[[^\]]*\]\s*)*"
        r"(?:pub(?:\([^)]*\))?\s+)?[^;{]*[;{]"
    )
    while match := test.search(source, start):
        end = match.end() if match[0].endswith(";") else closing(source, match.end() - 1) + 1
        source = source[: match.start()] + blank(source[match.start() : end]) + source[end:]
        start = match.start() + 1
    return source


def line_of(source: str, at: int) -> int:
    """The number of the line in which a place is."""
    return source.count("\n", 0, at) + 1


def is_test(name: str) -> bool:
    """Whether a file is compiled for tests only."""
    return bool(re.search(r"(^|/)tests?(/|\.rs$)", name)) and not name.startswith("tests/src/")
