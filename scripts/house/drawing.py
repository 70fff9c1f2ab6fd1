# SPDX-License-Identifier: Apache-2.0
"""Reads drawing.txt: who may import whom, the homes of `unsafe` and of httpd's types, and twins."""

from functools import lru_cache
from pathlib import Path


@lru_cache(None)
def lines() -> tuple[tuple[str, ...], ...]:
    """Each line as its words."""
    whole = (Path(__file__).parent / "drawing.txt").read_text(encoding="utf-8")
    return tuple(tuple(words) for line in whole.splitlines() if (words := line.split("#")[0].split()))


@lru_cache(None)
def rooms() -> dict[str, tuple[str, ...]]:
    """The rooms that each room of `src` may import."""
    return {words[1].rstrip(":"): words[2:] for words in lines() if words[0] == "room"}


@lru_cache(None)
def crates() -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """The crates that each crate may depend on, and those that it may never."""
    found = {}
    for words in lines():
        if words[0] == "crate":
            at = words.index("never") if "never" in words else len(words)
            found[words[1].rstrip(":")] = (words[2:at], words[at + 1 :])
    return found


@lru_cache(None)
def floors() -> dict[str, dict[str, int]]:
    """The height of each room of the crates that stand on floors."""
    found = {}
    for words in lines():
        if words[0] == "floor":
            heights = found.setdefault(f"crates/{words[1].rstrip(':')}/src", {})
            height = max(heights.values(), default=-1) + 1
            heights.update({room: height for room in words[2:]})
    return found


@lru_cache(None)
def twins() -> frozenset[str]:
    """Names of public types that are the same idea on several floors."""
    return frozenset(word for words in lines() if words[0] == "twins" for word in words[1:])


def is_home(rule: str, name: str) -> bool:
    """Whether `unsafe` or `ffi` may stand in a file."""
    homes = [words[1] for words in lines() if words[0] == rule]
    return any(name == home or name.startswith(home + "/") for home in homes)


def told(room: str) -> str:
    """The rooms that a room may import, in words."""
    return ", ".join(rooms()[room]) or "no other room"
