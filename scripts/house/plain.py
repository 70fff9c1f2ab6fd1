# SPDX-License-Identifier: Apache-2.0
"""Plain English: a sentence names its subject, and says "is not a" where "is no" would be a riddle."""

import re

OPENING = re.compile(
    r"(?:^|(?<=[.:;?!|*-] ))(?:What|Who|Whom|Whose|Whoever|Whatever|Those)\b[^.:;?!|]*(?P<end>[.:;?!|]|$)"
)
RIDDLE = re.compile(
    r"\b[Ww]ho(?:m|se)?ever\b|(?<!\b[Tt]here )\b(?:is|are|was|were) (?:none\b|no (?!(?:longer|more|less|other)\b)\w+)"
)
UNNAMED = re.compile(r"\bfn ((?:what|who|whom|whose|whoever|whatever|those)_\w+)")
QUOTED = re.compile(r"`[^`]*`|\"[^\"]*\"")
# A list, a table or a heading ends the paragraph before it.
BLOCK = re.compile(r"([*|#-]|\d+\.) ?")


def riddles(paragraph: str) -> list[str]:
    """The words of a paragraph that leave a reader to guess the thing that is meant. Questions may."""
    plain = QUOTED.sub("``", paragraph)
    found = [match[0].split()[0] for match in OPENING.finditer(plain) if match["end"] != "?"]
    return found + [match[0] for match in RIDDLE.finditer(plain)]


def unnamed(code: str):
    """The functions whose names begin with a word that stands for the thing, with the numbers of their lines."""
    return [(code.count("\n", 0, match.start()) + 1, match[1]) for match in UNNAMED.finditer(code)]


def paragraphs(lines, begin: str):
    """The paragraphs of numbered lines, each with the number of its first one. `begin`: the mark of comments."""
    mark = re.compile(r"\s*" + re.escape(begin) + r"[/!*-]* ?") if begin else re.compile(r"\s*")
    words, first, last = [], 0, 0
    for number, line in lines:
        content = mark.sub("", line, count=1).strip().removesuffix("*/").strip()
        if words and (number != last + 1 or not content or BLOCK.match(content)):
            yield first, " ".join(words)
            words = []
        if content:
            first = first if words else number
            words.append(content)
        last = number
    if words:
        yield first, " ".join(words)


def sentences(whole: str):
    """The lines of a document but for headings and listings, with their numbers."""
    fenced = False
    for number, line in enumerate(whole.splitlines(), 1):
        fence = line.lstrip().startswith("```")
        fenced ^= fence
        if not fenced and not fence and not line.startswith("#"):
            yield number, line
