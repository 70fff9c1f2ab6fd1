# SPDX-License-Identifier: Apache-2.0
"""Files, folders, modules and tests that documents and comments name have to be there."""

import re
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path

import drawing
import rooms
from source import files, named, text

# Pages about the tree: each pair of words with a slash between is a file or a folder there.
PAGES = {"docs/ARCHITECTURE.md", "docs/SAFETY.md", "CONTRIBUTING.md"}
TOP = r"(?:src|crates|tests|benches|fuzz|scripts|docs|lua|docker)"
PATH = re.compile(r"(?<![\w/.:-])" + TOP + r"(?:/[\w.*-]+)+")
PAIR = re.compile(r"`((?!application/)[a-z_]+(?:/[a-z_*]+)+)`")
FILE = re.compile(r"(?<![\w/.-])\w+\.(?:rs|py)\b")
MODULE = re.compile(r"`(\w+(?:::[a-z_]\w*)+)(?=`|::)")
# A name of so many words is a test's, another function's, or a metric's without its prefix.
FUNCTION = re.compile(r"`(?:\w+::)*([a-z0-9]+(?:_[a-z0-9]+){3,})`")
METRIC = re.compile(r"`(luabalancer_\w+)`")
NOT_OURS = ("ap_", "apr_", "lua_")


@lru_cache(None)
def folders() -> frozenset[str]:
    """All folders that have files."""
    return frozenset(str(parent) for name in files() for parent in Path(name).parents)


@lru_cache(None)
def functions() -> frozenset[str]:
    """All functions of the tree, tests included."""
    return frozenset(word for name in named(r".*\.rs") for word in re.findall(r"\bfn (\w+)", text(name)))


@lru_cache(None)
def metrics() -> frozenset[str]:
    """All metrics, without their prefix."""
    table = text("crates/render/src/metrics/families.rs")
    return frozenset(re.findall(r'\bof\(\s*Kind::\w+,\s*"(\w+)"', table))


@lru_cache(None)
def plain_names() -> frozenset[str]:
    """The names of all files without their folders."""
    return frozenset(Path(name).name for name in files())


def is_there(path: str) -> bool:
    """Whether a path, perhaps without its ending or with asterisks, is in the tree."""
    if "*" in path:
        return any(fnmatch(name, path) for name in files())
    return any(one in files() or one in folders() for one in (path, f"{path}.rs"))


def homes_of(pair: str) -> list[str]:
    """The paths that `serve/child` or `balance/url` may stand for."""
    first, rest = pair.split("/", 1)
    return [pair, f"src/{pair}", f"crates/{pair}", f"crates/{first}/src/{rest}"]


@lru_cache(None)
def crate(folder: str) -> rooms.Crate:
    return rooms.Crate(folder)


def is_module(path: str) -> bool:
    """Whether `serve::child::get` is there; a path of somebody else's counts as there."""
    first, *rest = path.split("::")
    known = []
    if Path("crates", first).is_dir():
        known.append(is_in(crate(f"crates/{first}/src"), rest))
    if first in drawing.rooms():
        known.append(is_in(crate("src"), [first, *rest]))
    return not known or any(known)


def is_in(tree: rooms.Crate, rest: list[str]) -> bool:
    """Whether a crate has this module, or the item at the path's end."""
    at = ()
    while rest and (*at, rest[0]) in tree.files:
        at = (*at, rest.pop(0))
    if not rest:
        return True
    item = re.compile(rooms.ITEM.format(re.escape(rest[0])))
    passed_on = any(alias == rest[0] for _, alias in tree.uses.get(at, []))
    return passed_on or bool(at in tree.files and item.search(text(tree.files[at])))


def unknown(section: str) -> list[str]:
    """The functions, types and modules that a section names in code spans and that are nowhere."""
    rust = [text(name) for name in named(r"(src|crates)/.*\.rs")]
    known = {Path(name).stem for name in files()} | {Path(folder).name for folder in folders()}
    known |= {word for whole in rust for word in re.findall(r"\b(?:fn|struct|enum|trait) (\w+)", whole)}
    spans = re.findall(r"`(\w+(?:::\w+)*)`", section)
    return [span for span in spans if not known.issuperset(span.split("::"))]


def missing(name: str, line: str):
    """The names of a line that lead nowhere. A crate's files may name each other from its root."""
    own = re.match(r"crates/\w+/", name)
    for path in PATH.findall(line):
        path = path.rstrip(".")
        if not is_there(path) and not (own and is_there(own[0] + path)):
            yield path
    for word in FILE.findall(line):
        if word not in plain_names():
            yield word
    for path in MODULE.findall(line):
        if not is_module(path):
            yield path
    if name in PAGES:
        for pair in PAIR.findall(line):
            if not any(is_there(path) for path in homes_of(pair)):
                yield pair
    if name.endswith(".md"):
        for word in sorted({*FUNCTION.findall(line), *METRIC.findall(line)}):
            known = word in functions() or word.removeprefix("luabalancer_") in metrics()
            if not known and not word.startswith(NOT_OURS):
                yield word
