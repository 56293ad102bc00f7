# SPDX-License-Identifier: GPL-2.0-only
"""Throw-away QEMU guests for the tests and the demo.

    with Guest(script='uname -r', kernel='6.12') as guest:
        result = guest.wait(timeout_s=60)
    assert result.ok, result.reason

Everything of a guest is in one temporary directory and one process; both go
with the object, and the process also when this one dies.
"""

import ctypes
import dataclasses
import functools
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import initramfs    # noqa: E402
import kernel_image    # noqa: E402
from qmp import Qmp    # noqa: E402

CACHE = os.environ.get('BLKSHIP_CACHE', '/var/cache/blkship')

# Without what the kernel's cryptography tries of itself at boot: a second, emulated.
FAST_BOOT = 'cryptomgr.notests initcall_blacklist=jent_mod_init '

# What the kernel prints when it found a bug. Only lines of the kernel count:
# programs print warnings of their own.
SPLAT = re.compile(
    r'\[ *\d+\.\d{6}\](?:\[ *[TC]\d+\])? .*?'
    r'(WARNING: |BUG: |BUG [\w-]+ \(|Oops|KASAN: |KCSAN: |UBSAN: |'
    r'kmemleak: (?:\d+ new|Kernel memory leak detector disabled)|'
    r'INFO: (?:task|possible|trying|rcu)|possible .* locking|suspicious RCU|'
    r'general protection fault|refcount_t: |self-detected stall|'
    r'Kernel panic|unable to handle|list_(?:add|del) corruption)')


@dataclasses.dataclass
class Result:
    status: int | None      # of the script; None when it did not get to its end
    splats: list            # kernel lines that must not be there
    timed_out: bool
    seconds: float
    qemu: int = 0           # its exit status, less than 0: the signal that killed it

    @property
    def ok(self):
        return self.status == 0 and not self.splats and not self.timed_out

    @property
    def reason(self):
        if self.timed_out:
            return f'timed out after {self.seconds:.0f} s'
        if self.splats:
            return f'the kernel complained: {self.splats[0]}'
        if self.status is None:
            return f'the guest ended before its script did (exit status of QEMU: {self.qemu})'
        return f'exit status {self.status}' if self.status else 'ok'


# Script of a guest that is told step by step what to do; see class Shell.
SHELL = r'''
exec 3<>/dev/virtio-ports/shell
while IFS= read -r line <&3; do
	eval "$line" >/run/shell.out 2>&1 3>&-
	{ echo "$? $(wc -c </run/shell.out)"; cat /run/shell.out; } >&3
done
'''


class CommandFailed(Exception):
    pass


class Shell:
    """Runs commands in a guest whose script is SHELL.

    They share one sh: variables stay. What runs on in the background must not write
    to standard output. "exit N" ends the guest.
    """

    def __init__(self, guest, sock):
        self._guest = guest
        self._sock = sock
        self._buf = b''

    def _more(self, deadline, command):
        self._sock.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = self._sock.recv(1 << 16)
        except TimeoutError:
            raise CommandFailed(f'guest: no answer to: {command}') from None
        if not data:
            raise CommandFailed(f'guest: it ended during: {command}')
        self._buf += data

    def run(self, command, timeout_s=60, check=True):
        """Returns what it printed; (status, output) when check is False."""
        assert '\n' not in command
        deadline = time.monotonic() + timeout_s
        self._sock.settimeout(timeout_s)
        self._sock.sendall(command.encode() + b'\n')
        while b'\n' not in self._buf:
            self._more(deadline, command)
        head, self._buf = self._buf.split(b'\n', 1)
        status, size = map(int, head.split())
        while len(self._buf) < size:
            self._more(deadline, command)
        out = self._buf[:size].decode(errors='replace')
        self._buf = self._buf[size:]
        if not check:
            return status, out
        if status:
            raise CommandFailed(f'guest: {command}: exit status {status}\n{out}')
        return out


@functools.cache
def kernel_dir(kernel):
    """Directory of a kernel: "6.12", or a directory of the same layout."""
    if '/' in kernel:
        return os.path.abspath(kernel)
    return subprocess.run([f'{HERE}/kernel-cache', kernel], check=True,
                          stdout=subprocess.PIPE, text=True).stdout.strip()


@functools.cache
def kvm_works():
    """Whether a guest really runs with KVM; asked once per boot of this machine."""
    if not os.access('/dev/kvm', os.R_OK | os.W_OK):
        return False
    with open('/proc/sys/kernel/random/boot_id') as f:
        note = f'{CACHE}/kvm-{f.read().strip()}'
    try:
        with open(note) as f:
            return f.read() == 'yes'
    except FileNotFoundError:
        pass
    with Guest(script='exit 0', accel='kvm', mem_mib=256) as guest:
        works = guest.wait(timeout_s=20).ok
    with tempfile.NamedTemporaryFile('w', dir=CACHE, delete=False) as f:
        f.write('yes' if works else 'no')
    os.chmod(f.name, 0o644)
    os.rename(f.name, note)     # whoever finds it may read it
    return works


def _accel_args(accel, icount, multi):
    if icount:
        return ['-accel', 'tcg,thread=single', '-cpu', 'max',
                '-icount', 'shift=0,sleep=off']
    if accel == 'kvm' or accel == 'auto' and kvm_works():
        return ['-accel', 'kvm', '-cpu', 'host']
    # Wide vectors and carry-less products are emulated so slowly that programs which
    # choose them lose: CRC32C 28 and AES-GCM 11 MB/s with, 97 and 42 without.
    thread = 'multi' if multi else 'single'
    return ['-accel', f'tcg,thread={thread}', '-cpu', 'max,-pclmulqdq,-avx,-avx2']


def die_with_parent():
    """For preexec_fn: the child is killed when the thread that made it ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)    # PR_SET_PDEATHSIG


class Guest:
    """One guest; boots when it is made, and is gone after close().

    script     sh script to run; its exit status is the guest's
    kernel     "6.1", "6.12", "debug" or a directory like those of kernel-cache
    programs   programs of this machine to take along, with their libraries
    files      {path in the guest: path here}
    modules    kernel modules to take along, for modprobe in the script: names, or
               paths of our own, which bring what they need
    disks      raw images (/dev/vda, vdb ...); an int is an empty one, in MiB
    slots      how many disks can be put in and pulled out while it runs: plug(), unplug()
    channels   names; /dev/virtio-ports/NAME there, channel(NAME) here
    out_dir    gets what the script leaves in /out
    network    10.0.2.2 there is this machine's loopback
    devices    more of QEMU's arguments: controllers and disks of other kinds
    icount     one virtual nanosecond per instruction (one CPU, no KVM)
    accel      "auto": KVM where it works, else TCG; "kvm"; "tcg"
    multi      a thread for each CPU in TCG too: for what CPUs cost each other, only. There a
               kernel now and then meets code that another CPU is patching, and dies of
               "Oops: int3" or without a word: at boot already, in 1 of 66
    append     more kernel parameters
    on_line    called with each console line, in a thread
    """

    def __init__(self, script, kernel='6.12', *, programs=(), files=None,
                 modules=(), disks=(), slots=0, channels=(), out_dir=None, network=False,
                 smp=2, mem_mib=1024, icount=False, accel='auto', multi=False, append='',
                 devices=(), on_line=None):
        self._tmp = tempfile.TemporaryDirectory(prefix='blkship-guest-')
        self._sockets = {}
        self._threads = []
        self.splats = []
        self.status = None
        self.proc = None
        self._on_line = on_line
        try:
            kdir = kernel_dir(kernel)
            initrd = f'{self._tmp.name}/initrd'
            channels = list(channels) + (['out'] if out_dir else [])
            base, module_files = initramfs.base(CACHE, kdir, modules)
            initramfs.write(initrd, base, script, programs,
                            {**(files or {}), **module_files}, channels, network)
            args = ['qemu-system-x86_64', '-M', 'q35', '-nodefaults', '-no-reboot',
                    '-display', 'none', *_accel_args(accel, icount, multi),
                    '-smp', '1' if icount else str(smp), '-m', str(mem_mib),
                    '-kernel', kernel_image.path(kdir), '-initrd', initrd, '-append',
                    'console=ttyS0 loglevel=5 printk.time=1 panic=-1 '
                    'mitigations=off oops=panic ' + FAST_BOOT +
                    ('nokaslr ' if icount else '') + append,
                    '-serial', self._chardev('console'),
                    '-serial', self._chardev('status'),
                    *self._disk_args(disks), *devices]
            if network:
                args += ['-netdev', 'user,id=net', '-device',
                         'virtio-net-pci,netdev=net,romfile=']
            if slots:
                self._fd('qmp')
                self._qmp = Qmp(self._sockets['qmp'][0])
                args += ['-mon', 'chardev=qmp,mode=control']
            for slot in range(slots):
                args += ['-device', f'pcie-root-port,id=slot{slot},chassis={slot}']
            if channels:
                args += ['-device', 'virtio-serial-pci']
            for name in channels:
                args += ['-device', f'virtserialport,chardev={name},name={name}']
            for name in self._sockets | dict.fromkeys(channels):
                args += ['-chardev', f'socket,id={name},fd={self._fd(name)}']
            self._start(args, out_dir)
        except BaseException:
            self.close()
            raise

    def _fd(self, name):
        """Our end of a new socket pair is kept, the guest's end is inherited."""
        if name not in self._sockets:
            self._sockets[name] = socket.socketpair()
        return self._sockets[name][1].fileno()

    def _chardev(self, name):
        self._fd(name)
        return f'chardev:{name}'

    def _disk_args(self, disks):
        args = []
        for i, disk in enumerate(disks):
            if isinstance(disk, int):
                path = f'{self._tmp.name}/disk{i}'
                with open(path, 'wb') as f:
                    f.truncate(disk << 20)
            else:
                path = os.path.abspath(disk)
            args += ['-drive', f'if=none,id=d{i},format=raw,cache=unsafe,'
                     f'discard=unmap,file={path}',
                     '-device', f'virtio-blk-pci,drive=d{i},serial=disk{i}']
        return args

    def _start(self, args, out_dir):
        theirs = [pair[1] for pair in self._sockets.values()]
        self.started = time.monotonic()
        self.proc = subprocess.Popen(
            args, stdin=subprocess.DEVNULL, stdout=theirs[0], stderr=theirs[0],
            pass_fds=[s.fileno() for s in theirs], preexec_fn=die_with_parent)
        for s in theirs:
            s.close()
        self._thread(self._read_console)
        self._thread(self._read_status)
        if out_dir:
            self._thread(self._read_out, out_dir)

    def _thread(self, target, *args):
        thread = threading.Thread(target=target, args=args, daemon=True)
        thread.start()
        self._threads.append(thread)

    def channel(self, name):
        """Binary file for both directions of a channel."""
        return self._sockets[name][0].makefile('rwb', buffering=0)

    def shell(self):
        """Commands for the guest, one by one; needs the channel "shell" and SHELL."""
        return Shell(self, self._sockets['shell'][0])

    def plug(self, slot, path):
        """Put a disk in; its serial number there is "slotN"."""
        self._qmp.command('blockdev-add', driver='raw', node_name=f'disk-{slot}',
                          discard='unmap', file={'driver': 'file', 'filename': path})
        self._qmp.command('device_add', driver='virtio-blk-pci', bus=f'slot{slot}',
                          id=f'plugged{slot}', drive=f'disk-{slot}', serial=f'slot{slot}')

    def unplug(self, slot):
        """Pull it out: returns when the guest has let it go."""
        self._qmp.command('device_del', id=f'plugged{slot}')
        self._qmp.wait_event('DEVICE_DELETED', device=f'plugged{slot}')
        self._qmp.command('blockdev-del', node_name=f'disk-{slot}')

    def _read_console(self):
        with self._sockets['console'][0].makefile('rb') as console:
            for raw in console:
                line = raw.decode(errors='replace').rstrip('\r\n')
                if SPLAT.search(line):
                    self.splats.append(line.strip())
                if self._on_line:
                    self._on_line(line)

    def _read_status(self):
        with self._sockets['status'][0].makefile('rb') as status:
            for line in status:
                if line.startswith(b'exit '):
                    self.status = int(line.split()[1])

    def _read_out(self, out_dir):
        os.makedirs(out_dir, exist_ok=True)
        with self._sockets['out'][0].makefile('rb') as out:
            try:
                with tarfile.open(fileobj=out, mode='r|') as tar:
                    tar.extractall(out_dir)
            except tarfile.ReadError:
                pass    # nothing came: the status says why
            while out.read(1 << 16):
                pass

    def wait(self, timeout_s):
        """Wait for the end of the guest, at most so long; then it is killed."""
        try:
            self.proc.wait(max(0, self.started + timeout_s - time.monotonic()))
            timed_out = False
        except subprocess.TimeoutExpired:
            timed_out = True
        self.kill()
        return Result(self.status, self.splats, timed_out,
                      time.monotonic() - self.started, self.proc.returncode)

    def kill(self):
        """Pull the plug."""
        if self.proc:
            self.proc.kill()
            self.proc.wait()
            for thread in self._threads:
                thread.join()

    def close(self):
        self.kill()
        for pair in self._sockets.values():
            for s in pair:
                s.close()
        self._tmp.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
