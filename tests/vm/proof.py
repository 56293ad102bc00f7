# SPDX-License-Identifier: GPL-2.0-only
"""Is a recovery point what it claims to be? Checked on its restored images.

Nothing is mounted: content of somebody else's disk is not given to this kernel.
"""

import filecmp
import os
import re
import sqlite3
import subprocess
import zlib

NR_ACCOUNTS = 16
START_BALANCE = 1000


class NotProven(Exception):
    pass


class Told:
    """What a part of tests/vm/workload.c told before the server was lost."""

    def __init__(self):
        self.at = {'begin': {}, 'done': {}, 'drop': {}}

    def add(self, line):
        what, n, time_ns = line.split()
        self.at[what][int(n)] = int(time_ns)

    def before(self, what, time_ns):
        """Numbers told before a moment."""
        return {n for n, t in self.at[what].items() if t < time_ns}


def _run(*command, ok=(0,)):
    run = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, errors='replace')
    if run.returncode not in ok:
        raise NotProven(f'{" ".join(command)}: exit status {run.returncode}\n{run.stdout}')
    return run.stdout


def check_filesystem(image):
    """Replay the journal as a boot would; then there must be nothing to repair."""
    said = _run('e2fsck', '-p', image, ok=(0, 1))
    if ': clean,' not in said:
        raise NotProven(f'{image}: more than a journal replay was needed:\n{said}')
    _run('e2fsck', '-f', '-n', image)


def extract(image, path, to):
    os.makedirs(to, exist_ok=True)
    said = _run('debugfs', '-R', f'rdump {path} {to}', image)
    if not os.path.isdir(f'{to}/{os.path.basename(path)}'):
        raise NotProven(f'{image}: no {path}:\n{said}')


def _rows(path, query):
    try:
        db = sqlite3.connect(path)
        try:
            verdict = db.execute('PRAGMA integrity_check').fetchall()
            if verdict != [('ok',)]:
                raise NotProven(f'{path}: {verdict}')
            return [db.execute(q).fetchall() for q in query]
        finally:
            db.close()
    except sqlite3.DatabaseError as err:
        raise NotProven(f'{path}: {err}') from err


def _check_entries(path, rows, told, point_ns):
    """Exactly 1..k: all that was acknowledged before the point, nothing invented."""
    k = len(rows)
    if [row[0] for row in rows] != list(range(1, k + 1)):
        raise NotProven(f'{path}: transactions are missing in the middle')
    acknowledged = max(told.before('done', point_ns), default=0)
    if k < acknowledged:
        raise NotProven(f'{path}: ends with transaction {k}, but {acknowledged} was '
                        'acknowledged before the point')
    begun = max(told.at['begin'], default=0)
    if k > begun:
        raise NotProven(f'{path}: has transaction {k}, but only {begun} were begun')
    for n, _, _, _, note, crc in rows:
        if zlib.crc32(note) != crc:
            raise NotProven(f'{path}: transaction {n} has wrong content')
    return k


def check_databases(ledger, audit, told, point_ns):
    """Returns how many transactions are there."""
    entries = 'SELECT n, payer, payee, amount, note, crc FROM entry ORDER BY n'
    ledger_rows, balances = _rows(ledger, [entries, 'SELECT id, balance FROM account'])
    (audit_rows,) = _rows(audit, [entries])
    k = _check_entries(ledger, ledger_rows, told, point_ns)
    if _check_entries(audit, audit_rows, told, point_ns) > k:
        raise NotProven(f'{audit}: knows transactions that {ledger} lacks: '
                        'the order across volumes is broken')
    if audit_rows != ledger_rows[:len(audit_rows)]:
        raise NotProven(f'{audit} and {ledger} differ')
    want = dict.fromkeys(range(1, NR_ACCOUNTS + 1), START_BALANCE)
    for _, payer, payee, amount, _, _ in ledger_rows:
        want[payer] -= amount
        want[payee] += amount
    if dict(balances) != want:
        raise NotProven(f'{ledger}: balances do not follow from the transactions')
    return k


def _same_tree(a, b):
    different = filecmp.dircmp(a, b)
    return not (different.left_only or different.right_only or different.funny_files
                or filecmp.cmpfiles(a, b, different.common_files, shallow=False)[1:] != ([], [])
                or not all(_same_tree(f'{a}/{d}', f'{b}/{d}')
                           for d in different.common_dirs))


def check_trees(directory, source, told, point_ns):
    """Returns how many copies are there and whole; those that must be, are."""
    there = {int(n) for n in re.findall(r'\bcopy-(\d+)\b', ' '.join(os.listdir(directory)))}
    must = told.before('done', point_ns) - set(told.at['drop'])
    missing = must - there
    if missing:
        raise NotProven(f'{directory}: copies {sorted(missing)} were acknowledged, '
                        'not dropped, and are not there')
    dropping = set(told.at['drop'])
    for n in there - dropping:
        if not _same_tree(source, f'{directory}/copy-{n}'):
            raise NotProven(f'{directory}/copy-{n} differs from what was copied')
    return len(there)


def check_point(images, point_ns, tx, tree, source, work):
    """Prove one restored point; returns the number of transactions in it.

    images: directory with data.img (ledger, files) and log.img (audit)
    point_ns: all that was acknowledged before this time must be there
    """
    for volume in ('data', 'log'):
        check_filesystem(f'{images}/{volume}.img')
        extract(f'{images}/{volume}.img', '/db', f'{work}/{volume}')
    extract(f'{images}/data.img', '/files', f'{work}/data')
    k = check_databases(f'{work}/data/db/ledger.db', f'{work}/log/db/audit.db', tx, point_ns)
    check_trees(f'{work}/data/files', source, tree, point_ns)
    return k
