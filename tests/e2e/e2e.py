# SPDX-License-Identifier: GPL-2.0-only
"""What the end-to-end tests share: a place of their own, daemons, verdicts.

A script makes a Test, calls its methods and ends with sys.exit(test.end()).
BLKSHIP_BUILD names another build than build/, for example build/san.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(TOP, os.environ.get('BLKSHIP_BUILD', 'build'))
PATIENCE_S = 120


class Process:
    """A daemon or a generator whose lines are collected as they come."""

    def __init__(self, argv, prefix=(), **more):
        self.lines, self.changed = [], threading.Condition()
        self.proc = subprocess.Popen([*prefix, *argv], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                     text=True, errors='replace', **more)
        self.thread = threading.Thread(target=self.collect, daemon=True)
        self.thread.start()

    def collect(self):
        for line in self.proc.stdout:
            with self.changed:
                self.lines.append(line.rstrip('\n'))
                self.changed.notify_all()
        with self.changed:
            self.lines.append(None)     # the end
            self.changed.notify_all()

    def wait_line(self, pattern, after=0):
        """The match and the index of the first line from @after on that fits."""
        end = time.monotonic() + PATIENCE_S
        with self.changed:
            at = after
            while True:
                for i, line in enumerate(self.lines[at:], at):
                    if line is None:
                        raise AssertionError(f'ended without {pattern!r}: {self.text()}')
                    found = re.search(pattern, line)
                    if found:
                        return found, i
                at = len(self.lines)
                if not self.changed.wait(end - time.monotonic()):
                    raise AssertionError(f'no {pattern!r} in {PATIENCE_S} s: {self.text()}')

    def text(self):
        return '\n'.join(line for line in self.lines if line is not None)

    def say(self, line):
        self.proc.stdin.write(line + '\n')
        self.proc.stdin.flush()

    def stop(self, signo=signal.SIGTERM):
        """End it; the exit status."""
        if self.proc.poll() is None:
            self.proc.send_signal(signo)
        return self.ended()

    def ended(self):
        """Wait until it has ended by itself; the exit status."""
        try:
            status = self.proc.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            status = self.proc.wait()
        self.thread.join()
        self.proc.stdin.close()
        return status


class Test:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix='blkship-e2e-')
        self.processes, self.cleanups = [], []
        self.passed = self.failed = self.skipped = 0

    # -- verdicts --

    def ok(self, name, good, detail=''):
        if good:
            self.passed += 1
            print(f'ok {name}', flush=True)
        else:
            self.failed += 1
            print(f'not ok {name}', flush=True)
            if detail:
                print('    ' + str(detail).replace('\n', '\n    '), flush=True)
        return good

    def skip(self, name, why):
        self.skipped += 1
        print(f'skip {name}: {why}', flush=True)

    def run(self, body):
        """Call @body, clean up whatever happens, print the counts; the exit status."""
        try:
            body(self)
        except Exception:       # pylint: disable=broad-except
            self.ok('runs to its end', False, traceback.format_exc())
        for p in self.processes:
            if p.proc.poll() is None:
                p.stop(signal.SIGKILL)
        for cleanup in reversed(self.cleanups):
            cleanup()
        sanitizer = [line for p in self.processes for line in p.lines
                     if line and ('ERROR: AddressSanitizer' in line or 'runtime error' in line or
                                  'LeakSanitizer' in line)]
        if sanitizer:
            self.ok('no complaint of a sanitizer', False, '\n'.join(sanitizer))
        shutil.rmtree(self.dir, ignore_errors=True)
        print(f'{self.passed} passed, {self.failed} failed, {self.skipped} skipped')
        return 1 if self.failed else 0

    # -- things to run --

    def path(self, name):
        return os.path.join(self.dir, name)

    def cli(self, *args, stdin='', prefix=()):
        return subprocess.run([*prefix, f'{BUILD}/blkship', *map(str, args)], input=stdin,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              errors='replace', timeout=PATIENCE_S, check=False)

    def cli_json(self, *args, **more):
        proc = self.cli(*args, '--json', **more)
        if proc.returncode:
            raise AssertionError(f'{args}: {proc.stderr}')
        return json.loads(proc.stdout)

    def expect(self, name, proc, status, text=''):
        """The command ended with this status and said this."""
        said = proc.stdout + proc.stderr
        return self.ok(name, proc.returncode == status and text in said,
                       f'exit {proc.returncode}, wanted {status} with {text!r}: {said}')

    def start(self, argv, **more):
        p = Process(argv, **more)
        self.processes.append(p)
        return p

    def init_store(self, name='store'):
        """Where it is; this machine is 10.0.2.2 to guests."""
        proc = self.cli('target', 'init', '--store', self.path(name), '--host', 'localhost',
                        '--host', '10.0.2.2', '--listen', '127.0.0.1:0')
        if proc.returncode:
            raise AssertionError(proc.stderr)
        return self.path(name)

    def start_target(self, store, *args, prefix=()):
        """The daemon, and HOST:PORT when it listens."""
        p = self.start([f'{BUILD}/blkship-targetd', '--store', store, *args], prefix=prefix)
        found, _ = p.wait_line(r'listening on .* \(port (\d+)\)')
        return p, f'localhost:{found.group(1)}'

    def token(self, store, host='web1', **more):
        proc = self.cli('token', 'create', host, '--store', store, **more)
        if proc.returncode:
            raise AssertionError(proc.stderr)
        return proc.stdout.strip()

    def enroll(self, token, target, config, *args):
        return self.cli('enroll', '--token-file', '-', '--target', target, '--config-dir',
                        self.path(config), *args, stdin=token + '\n')

    def enrolled(self, store, target, host='web1'):
        """A configuration directory with a certificate for @host."""
        proc = self.enroll(self.token(store, host), target, host)
        if proc.returncode:
            raise AssertionError(proc.stderr)
        return self.path(host)

    def source(self, config, target, volumes, *args, group='erp'):
        """The daemon's code over a generated ring; volumes: name -> MiB."""
        argv = [f'{BUILD}/bench/gen_ship', '--config-dir', config, '--target', target,
                '--group', group, '--device', '--wait']
        for name, mib in volumes.items():
            path = self.path(f'{name}.disk')
            if not os.path.exists(path):
                with open(path, 'wb') as f:
                    f.truncate(mib << 20)
            argv += ['--volume', f'{name}={path}:{mib}']
        return self.start([*argv, *map(str, args)])


def private_mounts():
    """How to run something with mounts of its own."""
    return ['unshare', '-m'] if os.getuid() == 0 else ['unshare', '-Urm']


def can_mount():
    return subprocess.run([*private_mounts(), 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'],
                          capture_output=True, check=False).returncode == 0


class SmallDisk:
    """A tmpfs in a mount namespace of its own, for what runs with the prefix `inside`."""

    def __init__(self, t, name, mib):
        self.path = t.path(name)
        os.mkdir(self.path)
        holder = t.start(['sh', '-c', f'mount -t tmpfs -o size={mib}m tmpfs {self.path} && '
                          'echo mounted && exec cat'], prefix=private_mounts())
        holder.wait_line('^mounted')
        self.pid = holder.proc.pid
        self.inside = ['nsenter', '-t', str(self.pid), '-m']
        if os.getuid():
            self.inside[3:3] = ['-U', '--preserve-credentials']

    def seen(self, path):
        """The same file, from here."""
        return f'/proc/{self.pid}/root{path}'

    def resize(self, mib):
        subprocess.run([*self.inside, 'mount', '-o', f'remount,size={mib}m', self.path], check=True)

    def leave_free(self, mib):
        fs = os.statvfs(self.seen(self.path))
        self.resize(((fs.f_blocks - fs.f_bfree) * fs.f_frsize >> 20) + mib)


def until(what, test, context=lambda: ''):
    """Ask again and again: what is waited for happens in another process's own time.

    The answer, once it is true; @what is not so as long as it is not, @context() says more."""
    end = time.monotonic() + PATIENCE_S
    while not (got := test()):
        if time.monotonic() > end:
            raise AssertionError(f'{what}: not in {PATIENCE_S} s\n{context()}')
        time.sleep(0.01)
    return got


def flip(path, at):
    """One bit of a file; once more: as it was."""
    with open(path, 'r+b') as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 1]))


def same(a, b):
    """Whether two files have the same content."""
    with open(a, 'rb') as f, open(b, 'rb') as g:
        while True:
            x, y = f.read(1 << 20), g.read(1 << 20)
            if x != y:
                return False
            if not x:
                return True


def main(body):
    sys.exit(Test().run(body))
