# SPDX-License-Identifier: GPL-2.0-only
"""Restores recovery points and proves them; what RPO the points amount to."""

import concurrent.futures
import os
import shutil
import threading
import time

import proof
import server
from screen import seconds


def rpo(points, end_ns, without=(0, 0)):
    """(p50, p99, max) in seconds over every instant from the first point to the end.

    At an instant it is the time since what the newest point then at the target was
    current to; it grows until the next one arrives. Instants in between the two of
    "without" are left out.
    """
    lags = []
    arrivals = [p['received_ns'] for p in points] + [end_ns]
    step_ns = 10_000_000
    for point, until_ns in zip(points, arrivals[1:]):
        lags += [t - point['current_to_ns']
                 for t in range(point['received_ns'], min(until_ns, end_ns), step_ns)
                 if not without[0] < t < without[1]]
    lags.sort()
    return [lags[min(len(lags) - 1, int(len(lags) * q))] / 1e9 for q in (0.5, 0.99, 1)]


def spread(items):
    """All of them, so ordered that every beginning of it samples the whole."""
    ranges, order = [(0, len(items))], []
    while ranges:
        low, high = ranges.pop(0)
        if low < high:
            middle = (low + high) // 2
            order.append(items[middle])
            ranges += [(low, middle), (middle + 1, high)]
    return order


class Verdict:
    def __init__(self, screen, target, protected):
        self.screen, self.target, self.server = screen, target, protected
        self.tried = self.proven = 0
        self.newest_k = self.restore_s = None
        self.failures = []
        self.transactions = {}    # time of a point -> how many it holds
        self.lock = threading.Lock()

    def _prove(self, point, when):
        """Restore into a directory of its own, check, remove it."""
        work = f'{self.target.dir}/restored-{point["seq"].replace(":", "-")}'
        os.mkdir(work)
        start = time.monotonic()
        self.target.restore(when, f'{work}/images')
        took_s = time.monotonic() - start
        try:
            k = proof.check_point(f'{work}/images', point['time_ns'], self.server.tx,
                                  self.server.tree, server.TREE, work)
        finally:
            if not self.target.keep:
                shutil.rmtree(work)
        return k, took_s

    def _try(self, name, point, when):
        with self.lock:
            self.tried += 1
        try:
            k, took_s = self._prove(point, when)
        except proof.NotProven as err:
            with self.lock:
                self.failures.append(f'{name} ({point["time"]}): {err}')
            self.screen.note(f'NOT PROVEN: {self.failures[-1]}')
            return None
        with self.lock:
            self.proven += 1
            self.transactions[point['time_ns']] = k
        return k, took_s

    def prove(self, gap, budget_s):
        points = self.target.points()
        newest = points[-1]
        before = [p for p in points if p['time_ns'] <= gap[0]][-1]
        for name, point, when in (('the newest point', newest, 'latest'),
                                  ('the last point before the gap', before,
                                   f'seq:{before["seq"]}')):
            self.screen.command('target', f'blkship restore erp@{when} ...')
            result = self._try(name, point, when)
            if result and point is newest:
                self.newest_k, self.restore_s = result
            if result:
                self.screen.note(
                    f'{name}: restored in {seconds(result[1])}; both filesystems clean; '
                    f'{result[0]} transactions, all that were acknowledged before it, '
                    'none invented, in order across the disks')
        deadline = time.monotonic() + budget_s
        rest = spread([p for p in points if p not in (newest, before)])
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            def one(point):
                if time.monotonic() < deadline:
                    self._try('a point', point, f'seq:{point["seq"]}')
                    self.screen.progress(f'{self.proven} points proven')
            try:
                list(pool.map(one, rest))
            except BaseException:
                pool.shutdown(cancel_futures=True)    # Ctrl-C does not wait for all
                raise
        counts = [k for _, k in sorted(self.transactions.items())]
        if counts != sorted(counts):
            self.failures.append('a later point holds fewer transactions')
        self.screen.note(f'{self.proven} of {self.tried} restored points proven, spread '
                         f'over all {len(points)}')

    def conclude(self):
        if self.failures or self.newest_k is None:
            raise proof.NotProven('\n'.join(self.failures))
        self.screen.note('')
        self.screen.note('Every point that was restored is proven. The server is gone, '
                         'its seconds are not.')
