# SPDX-License-Identifier: Apache-2.0
"""Holds the code against its drawing and its habits: `python3 scripts/house [--shrink]`.

allowed.txt lists what there was when a rule came. It may only get shorter: a number that has become
smaller fails until `--shrink` has taken it in, a new or larger one fails until the code is mended.
"""

import sys
from pathlib import Path

import rules

ALLOWED = Path(__file__).parent / "allowed.txt"
HEAD = """# SPDX-License-Identifier: Apache-2.0
# What there was when a rule came: rule, where, number. It may only get shorter:
# `python3 scripts/house --shrink` takes in what has become less.
"""


def bound(rule: str) -> int:
    """What is right without an allowance."""
    return rules.LINES if rule == "lines" else 0


def rounded(rule: str, number: int) -> int:
    """The allowance for a number: lengths of files are allowed in steps of 50 lines."""
    return -(-number // 50) * 50 if rule == "lines" else number


def allowances() -> dict[tuple[str, str], int]:
    """The list, as a table."""
    found = {}
    for line in ALLOWED.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            rule, where, number = line.split()
            found[rule, where] = int(number)
    return found


def findings() -> dict[tuple[str, str], tuple[int, list[str]]]:
    """All that the rules find beyond their bounds."""
    found = {}
    for rule in rules.RULES:
        for name, where, number, details in rule():
            if number > bound(name):
                before = found.get((name, where), (0, []))
                together = before[0] + number if name == "import" else number
                found[name, where] = (together, before[1] + details)
    return found


def written(numbers: dict[tuple[str, str], int]) -> None:
    """Writes the list anew."""
    lines = [f"{rule} {where} {number}\n" for (rule, where), number in sorted(numbers.items())]
    ALLOWED.write_text(HEAD + "".join(lines), encoding="utf-8")


def main(arguments: list[str]) -> int:
    found, allowed = findings(), allowances()
    faults, stale, kept = [], [], {}
    for key, (number, details) in found.items():
        wanted = rounded(key[0], number)
        if number > allowed.get(key, bound(key[0])):
            was = f" ({number}, {allowed[key]} allowed)" if key in allowed else ""
            faults += [detail + was for detail in details]
        elif wanted < allowed[key]:
            stale.append(f"{key[0]} {key[1]}: {wanted} instead of {allowed[key]}")
        if key in allowed:
            kept[key] = min(allowed[key], wanted)
    stale += [f"{rule} {where}: nothing" for rule, where in allowed if (rule, where) not in found]
    if "--shrink" in arguments:
        written(kept)
        stale = []
    for fault in faults:
        print(fault)
    for line in stale:
        print(f"scripts/house/allowed.txt can be shorter: {line} (python3 scripts/house --shrink)")
    if not faults and not stale:
        print(f"house: nothing beyond what was there ({len(allowed)} lines of allowed.txt)")
    return 1 if faults or stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
