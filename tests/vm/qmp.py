# SPDX-License-Identifier: GPL-2.0-only
"""The monitor of a guest's QEMU, by which disks come and go."""

import json
import time


class QmpError(Exception):
    pass


class Qmp:
    """Commands over a socket, and the events that come meanwhile."""

    def __init__(self, sock):
        self._sock = sock
        self._buf = b''
        self._events = []
        self._greeted = False

    def _message(self, deadline):
        while b'\n' not in self._buf:
            self._sock.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self._sock.recv(1 << 16)
            except TimeoutError:
                raise QmpError('no answer of the monitor') from None
            if not data:
                raise QmpError('the guest is gone')
            self._buf += data
        line, self._buf = self._buf.split(b'\n', 1)
        return json.loads(line)

    def command(self, name, timeout_s=60, **arguments):
        """Returns what the command does; a "_" in an argument's name is a "-"."""
        deadline = time.monotonic() + timeout_s
        if not self._greeted:
            self._message(deadline)
            self._greeted = True
            self.command('qmp_capabilities')
        arguments = {key.replace('_', '-'): value for key, value in arguments.items()}
        request = {'execute': name, 'arguments': arguments}
        self._sock.sendall(json.dumps(request).encode() + b'\n')
        while True:
            message = self._message(deadline)
            if 'event' in message:
                self._events.append(message)
            elif 'error' in message:
                raise QmpError(f'{name}: {message["error"]["desc"]}')
            else:
                return message['return']

    def wait_event(self, name, timeout_s=60, **data):
        """Wait for an event that has this among its data."""
        deadline = time.monotonic() + timeout_s
        while True:
            for event in self._events:
                if event['event'] == name and data.items() <= event.get('data', {}).items():
                    self._events.remove(event)
                    return
            message = self._message(deadline)
            if 'event' in message:
                self._events.append(message)
