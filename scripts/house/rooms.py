# SPDX-License-Identifier: Apache-2.0
"""Imports: the graph of a crate's files, its circles, and imports between rooms.

A re-export does not count: a file that imports through it imports the file of the name.
"""

import re
from functools import lru_cache
from pathlib import Path

from source import is_test, named, production

USE = re.compile(r"\b(?:pub(?:\([^)]*\))?\s+)?use\s+([^;]+);")
ITEM = r"\b(?:fn|struct|enum|trait|type|const|static|union|mod|macro_rules!)\s+(?:mut\s+)?{}\b"
CRATES = {"src": ".", **{f"crates/{path.name}/src": f"crates/{path.name}" for path in Path("crates").iterdir()}}


def expanded(tree: str) -> list[tuple[list[str], str]]:
    """`a::{b, c as d}` as paths, each with the name that it gets."""
    tree = tree.strip().removeprefix("::")
    brace = tree.find("{")
    if brace < 0:
        path, _, alias = tree.partition(" as ")
        parts = [part.strip() for part in path.split("::")]
        if parts[-1] == "self":
            parts.pop()
        return [(parts, alias.strip() or (parts[-1] if parts else ""))]
    before = [part.strip() for part in tree[:brace].split("::") if part.strip()]
    inside, depth, branches = "", 0, []
    for letter in tree[brace + 1 : tree.rfind("}")]:
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            branches.append(inside)
            inside = ""
        else:
            inside += letter
    paths = [found for branch in [*branches, inside] if branch.strip() for found in expanded(branch)]
    return [(before + path, alias or (before + path)[-1]) for path, alias in paths]


class Crate:
    """The modules of one crate."""

    def __init__(self, folder: str):
        self.files = {}
        for name in named(re.escape(folder) + r"/.*\.rs"):
            inner = name[len(folder) + 1 : -3]
            path = tuple(part for part in inner.split("/") if part not in ("mod", "lib"))
            if not is_test(name):
                self.files[path] = name
        self.uses = {path: self.imports(path) for path in self.files}

    def imports(self, path: tuple) -> list[tuple[list[str], str]]:
        """The imports of a module, from the crate's root."""
        found = []
        for match in USE.finditer(production(self.files[path])):
            for parts, alias in expanded(match[1]):
                if whole := self.absolute(path, parts):
                    found.append((whole, alias))
        return found

    def absolute(self, path: tuple, parts: list[str]) -> list[str] | None:
        """A path of this crate from its root; None for those of others."""
        if not parts:
            return None
        if parts[0] == "crate":
            return parts[1:]
        if parts[0] in ("self", "super"):
            here = list(path)
            while parts and parts[0] in ("self", "super"):
                if parts[0] == "super":
                    here = here[:-1]
                parts = parts[1:]
            return here + parts
        return [*path, *parts] if (*path, parts[0]) in self.files else None

    def home(self, parts: list[str], seen: frozenset = frozenset()) -> tuple | None:
        """The module that a path's item is written in; None when the path is a module's own."""
        path = ()
        for index, part in enumerate(parts):
            if (*path, part) in self.files:
                path = (*path, part)
                continue
            return path if part == "*" else self.behind(path, part, parts[index + 1 :], seen)
        return None

    def behind(self, path: tuple, part: str, rest: list[str], seen: frozenset) -> tuple | None:
        """The home of an item that a module holds or passes on."""
        if (path, part) in seen or re.search(ITEM.format(re.escape(part)), production(self.files[path])):
            return path
        seen = seen | {(path, part)}
        for whole, alias in self.uses[path]:
            if alias == part:
                return self.home(whole + rest, seen)
            if alias == "*":
                home = self.home([*whole[:-1], part, *rest], seen)
                if home and re.search(ITEM.format(re.escape(part)), production(self.files[home])):
                    return home
        return path

    def edges(self) -> dict[str, set[str]]:
        """The files that each file imports."""
        graph = {name: set() for name in self.files.values()}
        for path, name in self.files.items():
            for whole in self.mentioned(path):
                home = self.home(whole)
                if home is not None and self.files[home] != name:
                    graph[name].add(self.files[home])
        return graph

    def mentioned(self, path: tuple) -> list[list[str]]:
        """All paths of this crate that a module's text has."""
        source = production(self.files[path])
        own = [[whole, alias] for whole, alias in self.uses[path]]
        public = [match[1] for match in USE.finditer(source) if match[0].startswith("pub")]
        passed_on = {tuple(whole) for tree in public for whole in self.passed(path, tree)}
        found = [whole for whole, _ in own if tuple(whole) not in passed_on]
        aliases = {alias: whole for whole, alias in own if tuple(whole) in self.files}
        for match in re.finditer(r"(?<![\w:])(\w+)((?:::\w+)+)", USE.sub(" ", source)):
            first, parts = match[1], match[2].strip(":").split("::")
            if first in aliases:
                found.append(aliases[first] + parts)
            elif whole := self.absolute(path, [first, *parts]):
                found.append(whole)
        return found

    def passed(self, path: tuple, tree: str) -> list[list[str]]:
        """The names that a re-export passes on."""
        return [whole for parts, _ in expanded(tree) if (whole := self.absolute(path, parts))]


@lru_cache(None)
def graphs() -> dict[str, dict[str, set[str]]]:
    """The graph of each crate."""
    return {folder: Crate(folder).edges() for folder in CRATES}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Sets of files each of which reaches all others of its set."""
    number, low, stack, found = {}, {}, [], []

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in graph[node]:
            if other not in number:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == number[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for node in sorted(graph):
        if node not in number:
            visit(node)
    return found


def room(name: str) -> str:
    """The room of a file of `src`, of the module or of a crate: its folder, or the file itself."""
    return re.sub(r"^(crates/\w+/)?src/", "", name).removesuffix(".rs").split("/")[0]
