#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Keeps build/bench.json: an array of figures, one entry per name.

As a program: benchjson.py NAME VALUE UNIT [BASELINE BASELINE_VALUE [RUNS]]
"""

import fcntl
import json
import os
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATH = f'{TOP}/build/bench.json'


def entry(name, value, unit, baseline=None, baseline_value=None, runs=1):
    """One figure; ratio is value over that of the baseline, from the same runs."""
    ratio = value / baseline_value if baseline_value else None
    return {'name': name, 'value': value, 'unit': unit, 'baseline': baseline,
            'baseline_value': baseline_value, 'ratio': ratio, 'runs': runs}


def merge(entries, path=PATH):
    """Replace entries of the same name, keep the rest."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(f'{path}.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            with open(path) as f:
                have = {e['name']: e for e in json.load(f)}
        except FileNotFoundError:
            have = {}
        have.update({e['name']: e for e in entries})
        with open(f'{path}.new', 'w') as f:
            json.dump(sorted(have.values(), key=lambda e: e['name']), f, indent=1)
            f.write('\n')
        os.rename(f'{path}.new', path)


def main(args):
    if len(args) not in (3, 5, 6):
        sys.exit(__doc__)
    name, value, unit, *rest = args
    if rest:
        rest[1] = float(rest[1])
        rest[2:] = map(int, rest[2:])
    merge([entry(name, float(value), unit, *rest)])


if __name__ == '__main__':
    main(sys.argv[1:])
