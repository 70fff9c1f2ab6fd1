# SPDX-License-Identifier: Apache-2.0
"""Links of documents lead to files and headings that are there, and the book has every page."""

import posixpath
import re
from urllib.parse import unquote

import plain
from source import files, named, text

PAGES = (r"[A-Z][\w.-]*\.md", r"docs/.*\.md")
SUMMARY = "docs/SUMMARY.md"
TABLE = 300
LINK = re.compile(
    r"\]\(<?(?P<inline>[^\s)>]+)>?(?: +\"[^\"]*\")?\)"
    r"|^\[[^\]]+\]: *<?(?P<below>[^\s>]+)"
    r"|<(?:a|img)\b[^>]*\b(?:href|src)=\"(?P<mark>[^\"]+)\""
)
SPAN = re.compile(r"`[^`]*`")
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def anchors(page: str) -> set[str]:
    """The names that headings have in the book and at GitHub; a second one of a name gets `-1`."""
    found, counts = set(), {}
    for heading in headings(page):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")
        count = counts.get(name, 0)
        counts[name] = count + 1
        found.add(f"{name}-{count}" if count else name)
    return found | set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", page))


def headings(page: str) -> list[str]:
    """The texts of headings, listings left out."""
    plain_lines, fenced = [], False
    for line in page.splitlines():
        fence = line.lstrip().startswith("```")
        fenced ^= fence
        if not fenced and not fence:
            plain_lines.append(line)
    return re.findall(r"^#{1,6} +(.+?) *#*$", "\n".join(plain_lines), re.MULTILINE)


def targets(page: str):
    """The links of a page, each with the number of its line; those in listings and code are text."""
    for number, line in plain.sentences(page):
        for match in LINK.finditer(SPAN.sub("", line)):
            yield number, next(filter(None, match.groups()))


def resolved(name: str, target: str) -> tuple[str, str]:
    """The path that a link of a page leads to, and the heading there; the page itself for `#heading`."""
    path, _, heading = target.partition("#")
    path = unquote(path)
    whole = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
    return whole, unquote(heading)


def dead_links():
    """Relative links lead to a file or a folder of the tree, and to a heading that is there."""
    for name in named(*PAGES):
        for number, target in targets(text(name)):
            if ELSEWHERE.match(target):
                continue
            if fault := fault_of(name, target):
                yield f"{name}:{number}: {target}: {fault}"


def fault_of(name: str, target: str) -> str | None:
    """The reason why a link leads nowhere; None when it does not."""
    path, heading = resolved(name, target)
    is_folder = any(one.startswith(f"{path}/") for one in files())
    if target.startswith("/") or not (path in files() or is_folder or path == "."):
        return "there is no such file"
    if heading and path.endswith(".md") and heading not in anchors(text(path)):
        return "there is no such heading"
    return None


def book():
    """The book has every page of docs once, and its pages link to files of the book alone, not to folders."""
    pages = [name for name in named(r"docs/.*\.md") if name != SUMMARY]
    listed = [resolved(SUMMARY, target)[0] for _, target in targets(text(SUMMARY))]
    for name in pages:
        if listed.count(name) != 1:
            yield f"{SUMMARY}: {name} stands there {listed.count(name)} times, not once"
    for name in pages:
        for number, target in targets(text(name)):
            path = resolved(name, target)[0]
            if not ELSEWHERE.match(target) and not (path.startswith("docs/") and path in files()):
                yield f"{name}:{number}: {target}: is not in the book: name it, or link to the tree's address"


def tables():
    """Lines of tables are not wider than 300 columns, in pages that a program writes as well."""
    for name in named(*PAGES):
        for number, line in plain.sentences(text(name)):
            if line.lstrip().startswith("|") and len(line) > TABLE:
                yield f"{name}:{number}: a line of a table of more than {TABLE} columns"


RULES = (dead_links, book, tables)
