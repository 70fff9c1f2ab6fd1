# SPDX-License-Identifier: Apache-2.0
"""The table of mod_proxy's ways (crates/balance/src/relay/tests) and the server tests that show them."""

import re
from pathlib import Path

from source import code, named, text

TABLE = r"crates/balance/src/relay/tests/\w+\.rs"
# The server's files about attempts: each of their tests stands in the table, or beside it.
ABOUT_ATTEMPTS = ("backends", "blame", "failover", "keepalive", "other_schemes")
NAMED = re.compile(r'"(\w+(?:/\w+)?)::([a-z0-9]+(?:_[a-z0-9]+)+)"')


def tests(source: str) -> set[str]:
    """The names of a file's tests: those with an attribute, and those that run on every MPM."""
    found = set(re.findall(r"#\[test\]\s*(?:#\[[^\]]*\]\s*)*fn (\w+)", source))
    for names in re.findall(r"on_every_mpm!\(([^)]*)\)", source):
        found |= set(re.findall(r"\w+", names))
    return found


def shown(file: str) -> set[str]:
    """The tests of `failover`, of `counts/ends`, or of a folder's `main`."""
    paths = named(rf"tests/tests/{file}(/main)?\.rs")
    return set().union(*(tests(code(path)) for path in paths))


def faults(table: dict[str, str], known):
    """The names of the table that lead nowhere, and the tests that it does not name."""
    told = set()
    for path, source in table.items():
        for match in NAMED.finditer(source):
            if match[1] == "balance":
                continue
            told.add((match[1], match[2]))
            if match[2] not in known(match[1]):
                line = source.count("\n", 0, match.start()) + 1
                yield f"{path}:{line}: no server test is {match[1]}::{match[2]}"
    for file in ABOUT_ATTEMPTS:
        for name in sorted(known(file) - {name for home, name in told if home == file}):
            yield (
                f"tests/tests/{file}.rs: {name} stands neither in the table of mod_proxy's ways "
                f"({Path(min(table)).parent}/quirks.rs, repeats.rs) nor in elsewhere.rs"
            )


def all_faults():
    """The faults of the tree."""
    yield from faults({path: text(path) for path in named(TABLE)}, shown)
