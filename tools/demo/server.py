# SPDX-License-Identifier: GPL-2.0-only
"""The protected server of the demo: a guest, its disks and its workload."""

import json
import os
import subprocess
import threading
import time

from guest import Guest, SHELL
from proof import Told
from screen import mib

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = f'{TOP}/build'
DISKS = {'data': 256, 'log': 128}    # MiB
TREE = f'{TOP}/userspace'            # what is copied, deleted, renamed there
GROUP = 'erp'


class Server:
    def __init__(self, screen, kernel, work_dir):
        self.screen = screen
        self.kernel = kernel
        self.dir = work_dir
        self.guest = None
        self.tx, self.tree = Told(), Told()
        self.size_bytes = sum(DISKS.values()) << 20
        self.lost_ns = None
        self.stopped = False
        self.stopped_ns = None
        self._info = self._status = None

    def boot(self):
        disks = []
        for name, size_mib in DISKS.items():
            disks.append(f'{self.dir}/server-{name}.img')
            with open(disks[-1], 'wb') as f:
                f.truncate(size_mib << 20)
        self.screen.note('building blkship.ko for its kernel, then booting')
        module = subprocess.run([f'{TOP}/tests/vm/build-module', self.kernel], check=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True).stdout.strip()
        files = {}
        for where, _, names in os.walk(TREE):
            for name in names:
                rel = os.path.relpath(f'{where}/{name}', TREE)
                files[f'/srv/tree/{rel}'] = f'{where}/{name}'
        self.log = open(f'{self.dir}/server-console.log', 'w')
        self.guest = Guest(
            SHELL, self.kernel, files=files, disks=disks, modules=[module],
            programs=[f'{BUILD}/blkship', f'{BUILD}/blkshipd', f'{BUILD}/workload',
                      '/usr/sbin/mke2fs'],
            channels=['shell', 'tx', 'tree'], network=True,
            on_line=lambda line: print(line, file=self.log, flush=True))
        self._listeners = [
            threading.Thread(target=self._listen, args=(name, told), daemon=True)
            for name, told in (('tx', self.tx), ('tree', self.tree))]
        for listener in self._listeners:
            listener.start()
        self.shell = self.guest.shell()
        self.screen.note('booted: ' + self.shell.run('uname -sr', timeout_s=120).strip())
        # The clock of a PC is read in whole seconds; points are compared by less.
        self.shell.run(f'workload clock {time.time_ns()}')

    def _listen(self, name, told):
        channel = self.guest.channel(name)
        for line in channel:
            told.add(line.decode())
            if not line.startswith(b'done'):
                try:
                    channel.write(b'.')
                except OSError:
                    pass    # the server is lost: the rest was told before

    def run(self, command, show=None, timeout_s=60):
        """Run a command there; what is shown may leave out details."""
        self.screen.command('web1', show or command)
        out = self.shell.run(command, timeout_s)
        self.screen.output(out)

    def make_filesystems(self):
        for device, name in (('vda', 'data'), ('vdb', 'log')):
            self.run(f'mke2fs -q -t ext4 -L {name} /dev/{device}')
        # The disks are in use long before anybody thinks of protecting them.
        self.shell.run('mkdir /data /log && mount /dev/vda /data && mount /dev/vdb /log && '
                       'mkdir /data/db /data/files /data/old /log/db && '
                       'for i in 1 2 3 4 5 6 7 8; do cp -r /srv/tree /data/old/$i; done && '
                       'cp /usr/local/bin/blkship* /data/old && umount /data /log')

    def enroll(self, token, port):
        self.run('modprobe blkship')
        enroll = f'blkship enroll --token-file - --target 10.0.2.2:{port}'
        self.run(f"echo '{token}' | {enroll}", show=f'{enroll} < token')

    def attach(self, ring_mib):
        """One disk by the tap, as it is; the other by a device over it.

        A tap would not mind that the disk is in use (tests/e2e/tap shows it), but the
        emulator, with several threads, may not survive that running code is patched.
        """
        self.run(f'blkship attach {GROUP} data /dev/vda --ring-mib {ring_mib}')
        self.run(f'blkship attach {GROUP} log /dev/vdb --front dm')
        self.run(f'mount /dev/vda /data && mount /dev/mapper/{GROUP}-log /log')

    def start_workload(self):
        self.run('workload tx /data/db/ledger.db /log/db/audit.db '
                 '<>/dev/virtio-ports/tx >&0 2>/run/tx.err & TX=$!',
                 show='workload tx /data/db/ledger.db /log/db/audit.db &')
        self.run('workload tree /srv/tree /data/files '
                 '<>/dev/virtio-ports/tree >&0 2>/run/tree.err & TREE=$!',
                 show='workload tree /srv/tree /data/files &')

    def start_shipper(self):
        self.run('blkshipd >/run/blkshipd.log 2>&1 & SHIPPER=$!', show='blkshipd &')
        self.shell.run('until blkship status >/dev/null 2>&1; do kill -0 $SHIPPER || break; '
                       'usleep 20000; done')

    def signal_shipper(self, name):
        self.run(f'kill -{name} $SHIPPER', show=f'kill -{name} blkshipd')
        self.stopped = name == 'STOP'
        if self.stopped:
            self.stopped_ns = time.time_ns()

    def check(self):
        """Everything that was started there has to be alive."""
        status, out = self.shell.run(
            'kill -0 $TX && kill -0 $TREE && kill -0 $SHIPPER || '
            '{ cat /run/*.err; tail -n 20 /run/blkshipd.log; false; }', check=False)
        if status:
            raise OSError(f'web1: a program ended by itself:\n{out}')
        if self.guest.splats:
            raise OSError(f'web1: its kernel complained: {self.guest.splats[0]}')

    def info(self):
        """The kernel's counters."""
        said = json.loads(self.shell.run(f'blkship info {GROUP} --json'))
        self._info = said['groups'][0]
        return self._info

    def status(self):
        """What the shipper says; the last word of it while it is stopped."""
        if not self.stopped:
            said = json.loads(self.shell.run(f'blkship status {GROUP} --json'))
            self._status = said['groups'][0]
        return self._status

    def progress(self):
        info, status = self.info(), self.status()
        return (f'{mib(info["captured_bytes"])} written, {mib(status["sent_bytes"])} shipped, '
                f'ring {100 * info["ring_used_bytes"] // info["ring_bytes"]} %')

    def replicated(self):
        status = self.status()
        return 100 * status['repair_regions_done'] // max(1, status['repair_regions'])

    def written_bytes(self):
        """All that the disks were told to write, when last asked."""
        return self._info['captured_bytes']

    def shipped_bytes(self):
        return self._status['sent_bytes']

    def kill(self):
        """No shutdown, no flush: gone."""
        self.progress()
        self.screen.command('', f'kill -KILL {self.guest.proc.pid}')
        self.lost_ns = time.time_ns()
        self.guest.kill()
        for listener in self._listeners:
            listener.join()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.guest:
            self.guest.close()
            self.log.close()
