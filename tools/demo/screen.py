# SPDX-License-Identifier: GPL-2.0-only
"""What the demo shows."""

import shutil
import sys
import time


def mib(n):
    return f'{n / (1 << 20):.1f} MiB' if n < 100 << 20 else f'{n / (1 << 20):.0f} MiB'


def seconds(s):
    return f'{s * 1000:.0f} ms' if s < 1 else f'{s:.1f} s'


class Screen:
    """Steps, commands and notes; one line of progress that is written over on a
    terminal, and now and then a line elsewhere."""

    def __init__(self, quiet):
        self.quiet = quiet
        self.terminal = sys.stdout.isatty()
        self.on_progress = False
        self.next_progress = 0
        self.start = time.monotonic()

    def _line(self, text):
        if self.on_progress:
            print('\r\033[K', end='')
            self.on_progress = False
        print(text, flush=True)

    def step(self, number, text):
        self._line(f'\n{number}. {text} [{time.monotonic() - self.start:.0f} s]')

    def note(self, text):
        self._line(f'   {text}')

    def command(self, where, text):
        if not self.quiet:
            self._line(f'   {where}# {text}')

    def output(self, text):
        for line in text.rstrip().splitlines():
            self._line(f'   {line}')

    def progress(self, text):
        if self.quiet:
            return
        if self.terminal:
            width = shutil.get_terminal_size().columns - 1    # one line, not two
            print('\r\033[K' + f'   ... {text}'[:width], end='', flush=True)
            self.on_progress = True
        elif time.monotonic() >= self.next_progress:
            self.next_progress = time.monotonic() + 5
            self._line(f'   ... {text}')

    def table(self, rows):
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            self._line(f'   {name:{width}}  {value}')
