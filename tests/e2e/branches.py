# SPDX-License-Identifier: GPL-2.0-only
"""What the tests of branches share: a server of group erp, and clients that write while it is killed."""

import random
import signal
import struct
import threading

import e2e
import nbd

PLUGIN = f'{e2e.BUILD}/nbdkit-blkship-plugin.so'
MIB = 1 << 20
CLIENTS = 4
AREA_SECTORS = 64       # of one client


class Server:
    """An nbdkit with the plugin, on a socket of its own."""

    made = 0

    def __init__(self, t, store, *params, **more):
        Server.made += 1
        self.socket = t.path(f'nbd{Server.made}.sock')
        self.process = t.start(['nbdkit', '-f', '-v', '-U', self.socket, PLUGIN, f'store={store}',
                                'group=erp', *params], **more)
        self.process.wait_line('bound to unix socket')

    def uri(self, volume):
        return f'nbd+unix:///{volume}?socket={self.socket}'

    def client(self, volume='data'):
        return nbd.Client(self.socket, volume)

    def stop(self, signo=signal.SIGTERM):
        return self.process.stop(signo)


class Writer(threading.Thread):
    """Writes version after version over its own sectors, and knows what was acknowledged."""

    def __init__(self, server, number, version):
        super().__init__(daemon=True)
        self.client, self.number, self.version = server.client(), number, version
        self.acked, self.progress = version, threading.Event()
        self.rng = random.Random(number * 1000 + version)
        self.error = None

    def run(self):
        try:
            while True:
                version = self.version + 1
                sector = struct.pack('<QQ', self.number, version) * 32
                flags = nbd.FLAG_FUA if self.rng.random() < 0.1 else 0
                self.version = version
                self.client.write(place(self.number, version), sector, flags)
                if flags:
                    self.acked = version
                elif self.rng.random() < 0.1:
                    self.client.flush()
                    self.acked = version
                if self.acked > 300:
                    self.progress.set()
        except OSError as error:
            self.error = error


def place(number, version):
    return 8 * MIB + (number * AREA_SECTORS + version % AREA_SECTORS) * 512


def newest_of(client, number):
    """(newest version, whether the area is what it was when that was written)."""
    area = client.read(place(number, 0), AREA_SECTORS * 512)
    seen = []
    for i in range(AREA_SECTORS):
        sector = area[i * 512:i * 512 + 512]
        who, version = struct.unpack_from('<QQ', sector)
        good = sector == struct.pack('<QQ', who, version) * 32 and (
            (who == number and version % AREA_SECTORS == i) or version == 0)
        seen.append(version if good else -1)
    newest = max(seen)
    want = [max(newest - (newest - i) % AREA_SECTORS, 0) for i in range(AREA_SECTORS)]
    return newest, seen == want


def killed(t, store, branch, kills):
    """Several clients write, and the server is killed: what was acknowledged is there."""
    server = Server(t, store, f'branch={branch}')
    client = server.client()
    client.zero(place(0, 0), CLIENTS * AREA_SECTORS * 512)
    client.flush()
    client.close()
    versions, lost, odd = [0] * CLIENTS, [], []
    for _ in range(kills):
        writers = [Writer(server, i, versions[i]) for i in range(CLIENTS)]
        for w in writers:
            w.start()
        for w in writers:
            w.progress.wait(e2e.PATIENCE_S)
        server.stop(signal.SIGKILL)
        for w in writers:
            w.join(e2e.PATIENCE_S)
        server = Server(t, store, f'branch={branch}')
        client = server.client()
        for w in writers:
            newest, whole = newest_of(client, w.number)
            if not w.acked <= newest <= w.version:
                lost.append((w.number, w.acked, newest, w.version))
            if not whole:
                odd.append((w.number, newest))
            # What was not acknowledged may be gone; its numbers come again.
            versions[w.number] = newest
        client.close()
    t.ok(f'nothing acknowledged is lost in {kills} kills, nothing invented', not lost, lost)
    t.ok('each client sees a moment of its own past', not odd, odd)
    server.stop()
