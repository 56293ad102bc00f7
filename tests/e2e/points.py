# SPDX-License-Identifier: GPL-2.0-only
"""What the tests of retention share: a policy, points of known content, a source that makes more."""

import hashlib
import shutil
import threading

DISK_MIB = 16
RECORDS = 4096          # a round: 16 MiB
CONF = 'retention = {retention}\nimmutable = 0\npacking = {packing}\n'


def digest(path):
    with open(path, 'rb') as f:
        return hashlib.file_digest(f, 'sha256').hexdigest()


def configure(store, **values):
    """Everything else stays as `target init` has written it."""
    path = f'{store}/targetd.conf'
    with open(path) as f:
        lines = [line for line in f if line.split(' ')[0] not in ('retention', 'immutable', 'packing')]
    with open(path, 'w') as f:
        f.writelines(lines)
        f.write(CONF.format(**values))


def seqs(t, store, prefix=()):
    return [p['seq'] for p in t.cli_json('points', 'erp', '--store', store, prefix=prefix)['points']]


class Source:
    """One that comes back to whoever listens on that port."""

    def __init__(self, t, config, port):
        self.proc = t.source(config, f'localhost:{port}', {'data': DISK_MIB}, '--mib', '1')
        _, self.at = self.proc.wait_line('^durable')
        self.rounds, self.ended = 0, threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)

    def write(self):
        self.proc.say(f'write {RECORDS}')
        _, self.at = self.proc.wait_line('^durable', self.at + 1)
        self.rounds += 1

    def work(self):
        while not self.ended.is_set():
            self.write()

    def written(self):
        return self.rounds * RECORDS * 4096

    def stop(self):
        self.ended.set()
        if self.thread.is_alive():
            self.thread.join()
        self.proc.stop()


class Model:
    """What points hold: seq -> digest of the volume."""

    def __init__(self, t):
        self.t, self.known = t, {}

    def restored(self, store, seq, prefix=()):
        out = self.t.path('out')
        proc = self.t.cli('restore', f'erp@seq:{seq}', '--store', store, '--output', out,
                          prefix=prefix)
        if proc.returncode:
            return proc.stderr
        got = digest(f'{out}/data.img')
        shutil.rmtree(out)
        return got

    def learn(self, store):
        """Of points that nobody wrote down when they were made."""
        for seq in seqs(self.t, store):
            self.known.setdefault(seq, self.restored(store, seq))

    def check(self, name, store, prefix=()):
        wrong = [(seq, got) for seq in seqs(self.t, store, prefix) if seq in self.known
                 if (got := self.restored(store, seq, prefix)) != self.known[seq]]
        self.t.ok(name, not wrong, wrong)


def history(t, store, model, rounds, host='web1'):
    """Points of known content, some of them held; nothing is dropped yet."""
    configure(store, retention='all:1h', packing='no')
    daemon, target = t.start_target(store)
    port = target.split(':')[1]
    config = t.enrolled(store, target, host)
    source = Source(t, config, port)
    held = []
    for i in range(rounds):
        source.write()
        seq = seqs(t, store)[-1]
        model.known[seq] = digest(t.path('data.disk'))
        if i % 5 == 2:
            t.cli_json('hold', f'erp@seq:{seq}', '--store', store)
            held.append(seq)
    source.stop()
    daemon.stop()
    return config, port, held
