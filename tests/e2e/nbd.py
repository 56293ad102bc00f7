# SPDX-License-Identifier: GPL-2.0-only
"""An NBD client on a unix socket, of what the tests need: simple replies, one at a time."""

import socket
import struct

READ, WRITE, DISC, FLUSH, TRIM, WRITE_ZEROES = 0, 1, 2, 3, 4, 6
FLAG_FUA, FLAG_NO_HOLE = 1, 2
OPT_GO, REP_ACK, REP_INFO = 7, 1, 3


class Refused(Exception):
    """The server answered with an error: its number."""


class Client:
    def __init__(self, path, export):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        if self.take(16) != b'NBDMAGICIHAVEOPT':
            raise Refused('greeting')
        self.take(2)
        # Fixed newstyle, no zeroes.
        name = export.encode()
        data = struct.pack('>I', len(name)) + name + struct.pack('>H', 0)
        self.socket.sendall(struct.pack('>I8sII', 3, b'IHAVEOPT', OPT_GO, len(data)) + data)
        self.size = self.flags = None
        while True:
            _, _, kind, length = struct.unpack('>QIII', self.take(20))
            info = self.take(length)
            if kind == REP_INFO and info[:2] == b'\0\0':
                self.size, self.flags = struct.unpack('>QH', info[2:])
            elif kind == REP_ACK:
                break
            elif kind != REP_INFO:
                raise Refused(info.decode(errors='replace'))

    def take(self, length):
        got = bytearray()
        while len(got) < length:
            part = self.socket.recv(length - len(got))
            if not part:
                raise ConnectionError('the server has gone')
            got += part
        return bytes(got)

    def ask(self, kind, offset=0, length=0, data=b'', flags=0):
        self.socket.sendall(struct.pack('>IHHQQI', 0x25609513, flags, kind, 4711, offset, length) +
                            data)
        magic, error, cookie = struct.unpack('>IIQ', self.take(16))
        if magic != 0x67446698 or cookie != 4711:
            raise ConnectionError('not an answer')
        if error:
            raise Refused(error)
        return self.take(length) if kind == READ else b''

    def read(self, offset, length):
        return self.ask(READ, offset, length)

    def write(self, offset, data, flags=0):
        self.ask(WRITE, offset, len(data), data, flags)

    def zero(self, offset, length, flags=0):
        self.ask(WRITE_ZEROES, offset, length, flags=flags)

    def trim(self, offset, length):
        self.ask(TRIM, offset, length)

    def flush(self):
        self.ask(FLUSH)

    def close(self):
        self.socket.sendall(struct.pack('>IHHQQI', 0x25609513, 0, DISC, 0, 0, 0))
        self.socket.close()
