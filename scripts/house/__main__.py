# SPDX-License-Identifier: Apache-2.0
"""Holds the code against its drawing and its habits: `python3 scripts/house`."""

import sys

import rules


def main() -> int:
    faults = [fault for rule in rules.RULES for fault in rule()]
    print("\n".join(faults or ["house: clean"]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
