# SPDX-License-Identifier: GPL-2.0-only
"""A real Ceph cluster of one monitor and one OSD, on loopback, below a test's directory."""

import contextlib
import hashlib
import os
import re
import shutil
import socket
import subprocess
import time
import uuid

import e2e

PROGRAMS = ('ceph-mon', 'ceph-osd', 'ceph', 'monmaptool')
POOL = 'blkship'
PIECE_BYTES = 4 << 20       # docs/RADOS.md: no object has more
CONF = '''[global]
fsid = {fsid}
mon host = 127.0.0.1:{port}
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data = {dir}/mon
osd data = {dir}/osd
osd objectstore = bluestore
bluestore block size = 4294967296
osd memory target = 939524096
run dir = {dir}/run
admin socket = {dir}/run/$name.$pid.asok
log file = {dir}/run/$name.log
mon data avail warn = 1
mon data avail crit = 1
ms bind ipv4 = true
public addr = 127.0.0.1
cluster addr = 127.0.0.1
[mon.a]
mon addr = 127.0.0.1:{port}
'''


def missing():
    """A program of Ceph that is not there; None."""
    return next((p for p in PROGRAMS if not shutil.which(p)), None)


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Cluster:
    """Its daemons are the test's: they end with it."""

    def __init__(self, t):
        self.t, self.dir, self.port = t, t.path('ceph'), free_port()
        self.fsid = str(uuid.uuid4())
        for name in ('mon', 'osd', 'run'):
            os.makedirs(f'{self.dir}/{name}')
        self.conf = f'{self.dir}/ceph.conf'
        with open(self.conf, 'w') as f:
            f.write(CONF.format(fsid=self.fsid, port=self.port, dir=self.dir))
        # For all that the test starts, librados in our programs as well.
        os.environ['CEPH_CONF'] = self.conf
        os.environ['BLKSHIP_RADOS_SO'] = f'{e2e.BUILD}/blkship-rados.so'
        self.start_mon()
        self.run('ceph', 'osd', 'create')
        self.run('ceph-osd', '-i', '0', '--mkfs')
        self.run('ceph', 'osd', 'crush', 'add', 'osd.0', '1.0', 'host=localhost')
        self.osd = None
        self.start_osd()
        self.run('ceph', 'osd', 'pool', 'create', POOL, '8')

    def run(self, *argv):
        proc = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=e2e.PATIENCE_S, check=False)
        if proc.returncode:
            raise AssertionError(f'{argv}: {proc.stdout}{proc.stderr}')
        return proc.stdout

    def start_mon(self):
        monmap = f'{self.dir}/monmap'
        self.run('monmaptool', '--create', '--add', 'a', f'127.0.0.1:{self.port}', '--fsid', self.fsid,
                 monmap)
        self.run('ceph-mon', '--mkfs', '-i', 'a', '--monmap', monmap)
        self.mon = self.t.start(['ceph-mon', '-f', '-i', 'a'])

    def start_osd(self):
        """And wait until the cluster knows of it."""
        before = self.osd_up_from()
        self.osd = self.t.start(['ceph-osd', '-f', '-i', '0'])
        end = time.monotonic() + e2e.PATIENCE_S
        while self.osd_up_from() <= before:
            if self.osd.proc.poll() is not None or time.monotonic() > end:
                raise AssertionError(f'the OSD does not come up: {self.osd.text()}')

    def osd_up_from(self):
        """Epoch in which the OSD came up last; 0: never."""
        for line in self.run('ceph', 'osd', 'dump').splitlines():
            words = line.split()
            if words and words[0] == 'osd.0':
                return int(words[words.index('up_from') + 1])
        return 0

    def fill(self, full):
        """The OSD says that it is full, and the cluster believes it; or no longer."""
        self.run('ceph', 'tell', 'osd.0', 'injectfull', *(('full', '-1') if full else ('none',)))
        end = time.monotonic() + e2e.PATIENCE_S
        while full != bool(re.search(f"^pool .* '{POOL}' .* flags [a-z,]*,full[, ]",
                                     self.run('ceph', 'osd', 'dump'), re.M)):
            if time.monotonic() > end:
                raise AssertionError('the cluster does not notice')

    def content(self):
        """Of the pool: all objects with data, attributes and omaps."""
        path = f'{self.dir}/export'
        self.run('rados', '-p', POOL, 'export', path)
        with open(path, 'rb') as f:
            digest = hashlib.file_digest(f, 'sha256').hexdigest()
        os.unlink(path)
        return digest

    @contextlib.contextmanager
    def io(self, space):
        """Objects of a namespace, as anybody can read and write them."""
        import rados        # comes with ceph-common
        with rados.Rados(conffile=self.conf) as cluster, cluster.open_ioctx(POOL) as io:
            io.set_namespace(space)
            yield rados, io

    def omap_set(self, space, name, values):
        with self.io(space) as (rados, io), rados.WriteOpCtx() as op:
            io.set_omap(op, tuple(values), tuple(values.values()))
            io.operate_write_op(op, name)

    def stored(self, space):
        """Bytes of all objects."""
        with self.io(space) as (_, io):
            return sum(io.stat(o.key)[0] for o in io.list_objects())

    def has(self, space, marker):
        """Whether an object has it, in its data, an attribute or a value of its omap."""
        with self.io(space) as (_, io):
            found = any(marker in io.read(o.key, PIECE_BYTES) or
                        any(marker in value for _, value in io.get_xattrs(o.key))
                        for o in io.list_objects())
        return found or any(marker in value for name in self.objects(space) if name.startswith('d/')
                            for value in self.values(space, name).values())

    def objects(self, space):
        out = self.run('rados', '-p', POOL, '-N', space, 'ls')
        return sorted(out.split())

    def values(self, space, name):
        """Of an object's omap: key -> bytes."""
        found, key = {}, None
        for line in self.run('rados', '-p', POOL, '-N', space, 'listomapvals', name).splitlines():
            dump = re.match(r'[0-9a-f]{8}  ((?:[0-9a-f]{2} +){1,16})\|', line)
            if dump:
                found[key] += bytes.fromhex(dump.group(1))
            elif line and not line.startswith('value (') and not re.fullmatch('[0-9a-f]{8}', line):
                key, found[line] = line, b''
        return found
