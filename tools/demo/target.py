# SPDX-License-Identifier: GPL-2.0-only
"""The target of the demo: blkship-targetd on this machine, and its tools."""

import json
import os
import shutil
import subprocess
import tempfile
import time

from guest import die_with_parent

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = f'{TOP}/build'
BLKSHIP = f'{BUILD}/blkship'
GROUP = 'erp'


def parse_time(text):
    """RFC 3339 UTC, up to nanoseconds -> ns since the epoch."""
    whole, _, rest = text.rstrip('Z').partition('.')
    whole_s = int(time.mktime(time.strptime(whole + ' UTC', '%Y-%m-%dT%H:%M:%S %Z'))) \
        - time.timezone
    return whole_s * 10**9 + int((rest or '0').ljust(9, '0')[:9])


class Target:
    def __init__(self, screen):
        os.chdir(TOP)    # short names on the screen
        os.makedirs('build', exist_ok=True)
        self.screen = screen
        self.dir = tempfile.mkdtemp(prefix='demo-', dir='build')
        self.store = f'{self.dir}/store'
        self.proc = None
        self.port = None
        self.keep = False

    def blkship(self, *args, show=True, **kwargs):
        if show:
            self.screen.command('target', ' '.join(['blkship', *args]))
        run = subprocess.run([BLKSHIP, *args], stdin=subprocess.DEVNULL, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kwargs)
        if run.returncode:
            raise subprocess.CalledProcessError(run.returncode, ' '.join(run.args),
                                                run.stdout)
        return run.stdout

    def start(self):
        self.screen.output(self.blkship('target', 'init', '--store', self.store,
                                        '--host', '10.0.2.2'))
        port_file = f'{self.dir}/port'
        command = ['blkship-targetd', '--store', self.store, '--listen', '127.0.0.1:0',
                   '--port-file', port_file]
        self.screen.command('target', ' '.join(command) + ' &')
        with open(f'{self.dir}/targetd.log', 'w') as log:
            self.proc = subprocess.Popen([f'{BUILD}/{command[0]}', *command[1:]],
                                         stdin=subprocess.DEVNULL, stdout=log,
                                         stderr=subprocess.STDOUT,
                                         preexec_fn=die_with_parent)
        deadline = time.monotonic() + 10
        while not (os.path.exists(port_file) and os.path.getsize(port_file)):
            self.check()
            if time.monotonic() > deadline:
                raise OSError('blkship-targetd: no port file after 10 s')
            time.sleep(0.02)
        with open(port_file) as f:
            self.port = int(f.read())

    def check(self):
        """It has to be alive."""
        if self.proc.poll() is not None:
            with open(f'{self.dir}/targetd.log') as log:
                raise OSError(f'blkship-targetd ended by itself:\n{log.read()}')

    def token(self, name):
        return self.blkship('token', 'create', name, '--expires', '15m',
                            '--store', self.store).strip()

    def report(self):
        """What `points --json` says; None before there is a timeline."""
        try:
            return json.loads(self.blkship('points', GROUP, '--store', self.store,
                                           '--json', show=False))
        except subprocess.CalledProcessError as err:
            if err.returncode == 3:
                return None
            raise

    def points(self):
        """Listed points, oldest first; *_ns are added."""
        report = self.report() or {'points': []}
        for point in report['points']:
            for name in ('time', 'current_to', 'received'):
                point[f'{name}_ns'] = parse_time(point[name])
        return report['points']

    def latest(self):
        points = self.points()
        return points[-1] if points else None

    def gap_after(self, time_ns):
        """(from, to) of the first gap that began at or after a time and is over."""
        for gap in (self.report() or {'gaps': []})['gaps']:
            if gap['from'] and gap['to'] and parse_time(gap['to']) > time_ns:
                return parse_time(gap['from']), parse_time(gap['to'])
        return None

    def show_points(self):
        lines = self.blkship('points', GROUP, '--store', self.store).splitlines()
        if len(lines) > 8:
            lines[4:-4] = [f'... {len(lines) - 8} more']
        self.screen.output('\n'.join(lines))
        self.screen.output(self.blkship('points', GROUP, '--store', self.store, '--gaps'))

    def restore(self, when, output):
        self.blkship('restore', f'{GROUP}@{when}', '--store', self.store,
                     '--output', output, show=False)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.proc:
            self.proc.kill()
            self.proc.wait()
        if self.keep:
            self.screen.note(f'kept: {self.dir}')
        else:
            shutil.rmtree(self.dir, ignore_errors=True)
