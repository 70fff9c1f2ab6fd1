# SPDX-License-Identifier: Apache-2.0
"""The rules. Each yields a line for each fault that it finds."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import drawing
import links
import mentions
import plain
import quirks
import rooms
from source import TOKEN, closing, code, files, is_test, line_of, named, production, text

LICENCE = "SPDX-License-Identifier: Apache-2.0"
LINES, PARAMETERS, COMMENT, PROSE = 450, 5, 100, 120
OURS = r"(src|crates|tests|benches|fuzz|lua|scripts|docker)/.*|build\.rs|Makefile|\.ci/run"
PRODUCTION = (
    r"(crates/[^/]+/)?(src/.*|build)\.rs",
    r"tests/src/.*\.rs",
    r"benches/.*\.rs",
)
# Scripts of somebody else, as they were printed.
PRINTED = "tests/tests/article/"
DRAWN = "docs/ARCHITECTURE.md"
# Written by `make bench`.
GENERATED = {"docs/performance/README.md"}
MARKS = {"rs": "//", "lua": "--", "c": "/*", "h": "/*", "py": "#", "sh": "#", "toml": "#"}


def mark(name: str) -> str | None:
    """How a comment begins in this file; None where there are none (or a program makes it)."""
    ending = Path(name).suffix.lstrip(".")
    if not re.fullmatch(OURS, name) or name.endswith("Cargo.lock") or name.startswith(PRINTED):
        return None
    if ending in MARKS:
        return MARKS[ending]
    if Path(name).name in ("Makefile", "Dockerfile", ".luacheckrc"):
        return "--" if name.endswith(".luacheckrc") else "#"
    return "#" if not ending and text(name).startswith("#!") else None


def places(name: str, numbers: list[int], what: str) -> list[str]:
    """The same said of several lines of a file."""
    return [f"{name}:{number}: {what}" for number in numbers]


def licences():
    """Every source file says its licence in its first line, or in the second, after `#!`."""
    for name in files():
        if (begin := mark(name)) is None or name.endswith(".toml"):
            continue
        head = text(name).splitlines()[:2]
        line = head[1] if head and head[0].startswith("#!") and len(head) > 1 else head[0] if head else ""
        if not line.startswith(f"{begin} {LICENCE}"):
            yield f"{name}:1: no line `{begin} {LICENCE}`"


def comments():
    """Lines of comments are not wider than 100 columns."""
    for name in files():
        if (begin := mark(name)) is None:
            continue
        wide = [number for number, line in comment_lines(name, begin) if len(line) > COMMENT]
        yield from places(name, wide, f"a comment of more than {COMMENT} columns")


def comment_lines(name: str, begin: str):
    """The lines that hold nothing but a comment, with their numbers."""
    lines = text(name).splitlines()
    if name.endswith((".rs", ".c", ".h")):
        for match in TOKEN.finditer(text(name)):
            if match["comment"]:
                first = line_of(text(name), match.start())
                for number in range(first, first + match[0].count("\n") + 1):
                    if number > first or lines[number - 1].lstrip().startswith(("//", "/*")):
                        yield number, lines[number - 1]
        return
    yield from ((at + 1, line) for at, line in enumerate(lines) if line.lstrip().startswith(begin))


def prose():
    """Lines of documents are not wider than 120 columns."""
    for name in named(r"[A-Z]+\.md", r"docs/.*\.md", r"\.github/.*\.md", r"crates/.*\.md"):
        if name in GENERATED:
            continue
        wide, fenced = [], False
        for number, line in enumerate(text(name).splitlines(), 1):
            fenced ^= line.lstrip().startswith("```")
            if len(line) > PROSE and not fenced:
                wide.append(number)
        yield from places(name, wide, f"a line of more than {PROSE} columns")


def subjects():
    """Comments, documents and messages name the thing that they are about (plain.py)."""
    for name in files():
        found = []
        if name.endswith(".md") and name not in GENERATED:
            found = list(plain.paragraphs(plain.sentences(text(name)), ""))
        elif begin := mark(name):
            found = list(plain.paragraphs(comment_lines(name, begin), begin))
            found += strings(name)
        for number, words in found:
            for riddle in plain.riddles(words):
                yield f"{name}:{number}: `{riddle}` leaves a reader to guess: name the thing"


def strings(name: str):
    """The messages of Rust's code and Python's documentation, with the numbers of their lines."""
    if name.endswith(".py"):
        kinds = re.finditer(r'"""(?P<said>.*?)"""', text(name), re.DOTALL)
        return [(line_of(text(name), match.start()), " ".join(match["said"].split())) for match in kinds]
    if not name.endswith(".rs") or is_test(name):
        return []
    found = [match for match in TOKEN.finditer(text(name)) if match["string"]]
    return [(line_of(text(name), match.start()), match["string"][1:-1]) for match in found]


def promises():
    """Names of tests say the promise, and begin with its subject."""
    for name in named(r".*\.rs"):
        for at, riddle in plain.unnamed(code(name)):
            yield f"{name}:{at}: {riddle} leaves a reader to guess: begin with the thing that is promised"


def sizes():
    """Files have at most 450 lines, functions at most five parameters (but for callbacks of httpd and Lua)."""
    for name in named(*PRODUCTION):
        if is_test(name):
            continue
        if text(name).count("\n") > LINES:
            yield f"{name}: more than {LINES} lines"
        for at, what in wide_functions(code(name)):
            yield f"{name}:{at}: {what} has more than {PARAMETERS} parameters"


def wide_functions(source: str):
    """Functions with too many parameters beside self."""
    for match in re.finditer(r"\bfn\s+(\w+)", source):
        at = match.end()
        if source[at : at + 1] == "<":
            depth = 0
            while at < len(source):
                depth += (source[at] == "<") - (source[at] == ">" and source[at - 1] not in "-=")
                at += 1
                if depth == 0:
                    break
        if source[at : at + 1] != "(" or re.search(r'extern\s+""\s*$', source[: match.start()]):
            continue
        inside, depth, count = source[at + 1 : closing(source, at)], 0, 0
        parts = [""]
        for index, letter in enumerate(inside):
            depth += (letter in "([{<") - (letter in ")]}" or (letter == ">" and inside[index - 1] not in "-="))
            if letter == "," and depth == 0:
                parts.append("")
            else:
                parts[-1] += letter
        own = re.compile(r"^\s*(&\s*('\w+\s+)?)?(mut\s+)?self\b")
        count = sum(1 for part in parts if part.strip() and not own.match(part))
        if count > PARAMETERS:
            yield line_of(source, match.start()), match[1]


def homes():
    """`unsafe`, and httpd's own types, stand where docs/SAFETY.md says."""
    patterns = {
        "unsafe": (r"\bunsafe\b(?!\()", (r"src/.*\.rs", r"crates/[^/]+/src/.*\.rs")),
        "ffi": (r"(?<!std::)(?<!os::)(?<!unix::)\bffi::|\bcrate::ffi\b(?!::)", (r"src/.*\.rs",)),
    }
    for rule, (pattern, where) in patterns.items():
        for name in named(*where):
            if is_test(name) or drawing.is_home(rule, name):
                continue
            source = production(name)
            at = [line_of(source, match.start()) for match in re.finditer(pattern, source)]
            yield from places(name, at, f"`{rule}` outside of its homes")


def imports():
    """Rooms and crates import those that the drawing lets them."""
    for name, others in rooms.graphs()["src"].items():
        for other in sorted(others):
            own, wanted = rooms.room(name), rooms.room(other)
            if own not in drawing.rooms():
                yield f"{name}: `{own}` is no room of scripts/house/drawing.txt"
            elif own != wanted and wanted not in drawing.rooms()[own]:
                yield f"{name}: imports {other}; `{own}` may import {drawing.told(own)}"
    for name, (allowed, never) in drawing.crates().items():
        table = tomllib.loads(text(f"crates/{name}/Cargo.toml"))
        wanted = set(table.get("dependencies", {}))
        ours = {one for one in wanted if one in drawing.crates()}
        for other in sorted(wanted & set(never) | ours - set(allowed)):
            yield f"crates/{name} may not depend on {other}"


def floors():
    """Within a crate that stands on floors, files import their own room and the floors below."""
    for folder, heights in drawing.floors().items():
        for name, others in rooms.graphs()[folder].items():
            own = rooms.room(name)
            if own not in heights and own != "lib":
                yield f"{name}: `{own}` is on no floor of scripts/house/drawing.txt"
            wrong = [other for other in sorted(others) if not is_below(rooms.room(other), own, heights)]
            yield from (f"{name}: imports {other}, which is not below" for other in wrong)


def is_below(wanted: str, own: str, heights: dict[str, int]) -> bool:
    """Whether a room may be imported by another one of its crate."""
    return wanted == own or heights.get(wanted, len(heights)) < heights.get(own, len(heights))


def circles():
    """No circle of files that import each other."""
    for folder, graph in rooms.graphs().items():
        for circle in rooms.circles(graph):
            for name in circle:
                yield f"{name}: imports itself: {way(graph, name, circle)}"


def way(graph: dict, name: str, circle: list[str]) -> str:
    """A shortest way from a file back to itself."""
    paths = [[name]]
    for path in paths:
        for other in sorted(graph[path[-1]] & set(circle)):
            if other == name:
                return " → ".join([*path, name])
            if not any(other in known for known in paths):
                paths.append([*path, other])
    return name


def bound():
    """Every function that is bound is called: httpd's by build.rs, the shim's by its header."""
    listed = re.search(r'const FUNCTIONS: &str = "(.*?)";', text("build.rs"), re.DOTALL)
    names = listed[1].split() if listed else []
    names += re.findall(r"\b(lb_\w+)\(", text("src/ffi/wrapper.h"))
    called = set(re.findall(r"\bffi::(\w+)", "".join(production(name) for name in named(r"src/.*\.rs"))))
    for name in names:
        if name not in called:
            yield f"build.rs or wrapper.h: {name} is bound and not called"


def names():
    """A public type has a name of its own, but for those that are the same on another floor. Nobody
    imports a program: its names differ from each other and from those of the crates it depends on."""
    found, programs = {}, {}
    for name in named(r"(src|crates/[^/]+/src)/.*\.rs"):
        if not is_test(name):
            home = name.split("/src/")[0].removeprefix("crates/")
            is_program = f"crates/{home}/src/main.rs" in files()
            kept = programs.setdefault(home, {}) if is_program else found
            for word in re.findall(r"^pub (?:struct|enum|union|trait|type) (\w+)", production(name), re.MULTILINE):
                kept.setdefault(word, []).append(name)
    yield from doubles(found)
    for home, own in programs.items():
        near = [f"crates/{crate}/" for crate in drawing.crates().get(home, ((), ()))[0]]
        for word in own:
            known = [name for name in found.get(word, []) if name.startswith(tuple(near))]
            yield from doubles({word: known + own[word]})


def doubles(found: dict[str, list[str]]):
    """The places after the first of each name."""
    for word, places in found.items():
        others = [] if word in drawing.twins() else places[1:]
        yield from (f"{other}: {word} is {places[0]}'s already, and means something else there" for other in others)


def stale():
    """Files, folders, modules and tests that documents and comments name are there."""
    for name in files():
        if name.endswith(".md") and name not in {"CHANGELOG.md", *GENERATED}:
            lines, fenced = [], False
            for number, line in enumerate(text(name).splitlines(), 1):
                fenced ^= line.lstrip().startswith("```")
                lines += [] if fenced else [(number, line)]
        elif begin := mark(name):
            lines = comment_lines(name, begin)
        else:
            continue
        for number, line in lines:
            yield from (f"{name}:{number}: names {what}, which is not there" for what in mentions.missing(name, line))


def walk():
    """The walk of one request names what is there, each function once."""
    section = re.search(r"^### One request,.*?(?=^## )", text(DRAWN), re.MULTILINE | re.DOTALL)[0]
    yield from (f"{DRAWN}: the walk names {what}, which is nowhere" for what in mentions.unknown(section))
    steps = re.findall(r"`(\w+(?:::\w+)*)`", section)
    yield from (f"{DRAWN}: the walk passes {step} twice" for step in sorted(set(steps)) if steps.count(step) > 1)


def ways():
    """The table of mod_proxy's ways names server tests that are there, and all of those about attempts."""
    yield from quirks.all_faults()


def drawn():
    """The drawing in words shows all rooms of src, all crates, and the folders of sources beside them."""
    words = set(re.findall(r"[\w/]+", re.search(r"^```$(.*?)^```$", text(DRAWN), re.MULTILINE | re.DOTALL)[1]))
    folders = {"/".join(name.split("/")[:2]) for name in named(r"(crates|benches)/.*")}
    folders |= {name.split("/")[0] for name in named(r"(src|tests|fuzz|lua)/.*")}
    for missing in sorted((folders | set(drawing.rooms()) - {"lib"}) - words):
        yield f"{DRAWN}: the drawing does not show {missing}"


# A listing: its marks are not those of a word in code.
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
SECTIONS = {
    "health.rs": "LuaBalancerHealthCheck",
    "outlier.rs": "LuaBalancerOutlier",
    "set.rs": "LuaBalancerSet",
    "sticky.rs": "LuaBalancerSticky",
    "method.rs": "LuaBalancerMethod",
    "line.rs": "LuaBalancerMember",
    "hcheck.rs": "LuaBalancerMember",
}


def reference():
    """Every directive has its section in docs/directives.md, with every key; no section is of none."""
    page = FENCED.sub("", text("docs/directives.md"))
    sections = re.split(r"^### ", page, flags=re.MULTILINE)[1:]
    heads = {}
    for section in sections:
        heads |= {name: section for name in re.findall(r"`<?(Lua\w+)", section.split("\n")[0])}
    data = text("crates/config/src/directive.rs")
    table = set(re.findall(r'\bof\(\s*c"<?(Lua\w+)"', data))
    for name in sorted(table ^ set(heads)):
        what = "a section without a directive" if name in heads else "no section"
        yield f"docs/directives.md: {what}: {name}"
    for name in named(r"crates/balance/src/directives/\w+\.rs", r"crates/balance/src/(line|stock/hcheck)\.rs"):
        section = heads.get(SECTIONS.get(Path(name).name, ""), page)
        for key in keys(text(name)):
            if not documented(key, section):
                yield f"docs/directives.md: `{key}` ({name}) is not in its section"
    for key in re.findall(r'\bKey \{ name: "(\w+)"', data):
        if not documented(key, page):
            yield f"docs/directives.md: `{key}=` (crates/config) is nowhere"


def keys(source: str) -> list[str]:
    """The words of the lists that a parser compares with."""
    lists = re.findall(r"const [A-Z_]+: (?:\[&str; \d+\]|&\[&str\]) =\s*&?\[(.*?)\];", source, re.DOTALL)
    return [word for found in lists for word in re.findall(r'"([^"]+)"', found)]


def documented(key: str, section: str) -> bool:
    """Whether a section has a word in a code span."""
    spans = " ".join(re.findall(r"`([^`]+)`", section))
    return bool(re.search(rf"(?<![\w.]){re.escape(key)}(?![\w])", spans))


def dependencies():
    """No dependency needs a newer compiler than the project promises."""
    command = ["cargo", "metadata", "--format-version", "1", "--offline", "--locked"]
    host = subprocess.run(["rustc", "-vV"], capture_output=True, text=True).stdout.split("host: ")[-1].split()
    command += ["--filter-platform", host[0]] if host else []
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        yield f"cargo metadata: {answer.stderr.strip().splitlines()[-1]}"
        return
    promised = re.search(r'^rust-version = "([\d.]+)"', text("Cargo.toml"), re.MULTILINE)[1]
    for package in json.loads(answer.stdout)["packages"]:
        wanted = package.get("rust_version") or "0"
        if version(wanted) > version(promised):
            name = package["name"]
            yield f"Cargo.lock: {name} needs Rust {wanted}, the project promises {promised}"


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in (text.split("-")[0] + ".0.0").split(".")[:3])


def bans():
    """A crate's own clippy.toml has all bans of the workspace's, which it takes the place of."""
    common = set(re.findall(r'path = "([^"]+)"', text("clippy.toml")))
    for name in named(r".+/clippy\.toml"):
        for missing in sorted(common - set(re.findall(r'path = "([^"]+)"', text(name)))):
            yield f"{name}: {missing}, which the workspace bans, is not banned"


# Where scripts speak: their lines have no id.
SPOKEN = {"src/httpd/log.rs", "src/serve/host.rs", "src/vetting/client.rs", "crates/script/src/context/mod.rs"}


def messages():
    """The module's lines of the log are messages of crates/messages, which have ids."""
    raw = re.compile(r"\b(?:lb_log_\w+|of_script|server\.log)\((?!\s*\w+\.level\(\))")
    for name in named(r"src/.*\.rs", r"crates/script/src/.*\.rs"):
        if name not in SPOKEN and not is_test(name):
            source = production(name)
            at = [line_of(source, match.start()) for match in raw.finditer(source)]
            yield from places(name, at, "a line of the log without a message of crates/messages")


def translations():
    """A translation of the README has its blocks, in its order; comments are in its own language."""
    ours = blocks("README.md")
    for name in named(r"README\.[\w-]+\.md"):
        for at, block in enumerate(ours):
            theirs = blocks(name)[at : at + 1]
            if theirs != [block]:
                yield f"{name}: block {at + 1} is not that of README.md, which begins `{block.split(chr(10))[0]}`"


def blocks(name: str) -> list[str]:
    """The fenced blocks of a document, without comments and the space before them."""
    found = re.findall(r"^```(\w*\n.*?)^```", text(name), re.MULTILINE | re.DOTALL)
    return [re.sub(r"\s*(?<!\S)(#|--) .*", "", block) for block in found]


RULES = (
    licences, comments, prose, subjects, promises, names, stale, walk, drawn, ways, sizes, homes, imports, floors, circles, bound,
    reference, dependencies, bans, messages, translations, *links.RULES,
)
