# SPDX-License-Identifier: GPL-2.0-only
"""Builds the root file system of a guest: cpio archives, written by hand.

The base (busybox, modules, init) is cached by its recipe; what one run adds comes
as a second archive behind it: the kernel unpacks them one after the other.
"""

import hashlib
import lzma
import os
import re
import shutil
import stat
import subprocess
import tempfile

INIT = r'''#!/bin/busybox sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root TERM=dumb DM_DISABLE_UDEV=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm /dev/virtio-ports
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /var
ln -s ../run /var/run; ln -s ../run/lock /var/lock
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
mount -t configfs configfs /sys/kernel/config 2>/dev/null
hostname guest
for m in $(cat /guest/modules); do modprobe "$m"; done
ip link set lo up
if [ -e /guest/network ]; then
	ip addr add 10.0.2.15/24 dev eth0
	ip link set eth0 up
	ip route add default via 10.0.2.2
fi
# Named virtio-serial ports appear when the host has answered; no udev here.
for port in $(cat /guest/channels); do
	tries=0
	until dev=$(grep -lx "$port" /sys/class/virtio-ports/*/name 2>/dev/null); do
		tries=$((tries + 1))
		[ $tries -lt 1000 ] || { echo "init: no channel $port"; break; }
		usleep 10000
	done
	dev=${dev%/name}
	ln -s "../${dev##*/}" "/dev/virtio-ports/$port"
done
mkdir -p /out
cd /test
/bin/sh /guest/run </dev/null
status=$?
# A debug kernel tells what nothing points to any more. A scan reports what has not
# changed since the last one and was older than five seconds when it began.
leaks=/sys/kernel/debug/kmemleak
if [ -e $leaks ]; then
	echo scan > $leaks
	sleep 5.1
	echo scan > $leaks
	if grep -q . $leaks; then
		head -200 $leaks
		echo "<3>kmemleak: $(grep -c ^unref $leaks) new suspected memory leaks" > /dev/kmsg
	fi
fi
[ ! -e /dev/virtio-ports/out ] || tar -C /out -cf /dev/virtio-ports/out .
echo "exit $status" > /dev/ttyS1
poweroff -f
'''

# Loaded at boot when they are modules; what else is asked for is merely there.
BOOT_MODULES = ['virtio_pci', 'virtio_blk', 'virtio_net', 'virtio_console']


class Cpio:
    """Writer of the "newc" format that the kernel unpacks."""

    def __init__(self, out):
        self.out = out
        self.names = set()
        self.ino = 0

    def _entry(self, name, mode, data=b'', rdev=(0, 0)):
        name = name.strip('/')
        if name in self.names:
            return
        parent = os.path.dirname(name)
        if parent:
            self.dir(parent)
        self.names.add(name)
        self.ino += 1
        raw = name.encode() + b'\0'
        fields = (self.ino, mode, 0, 0, 1, 0, len(data), 0, 0, *rdev, len(raw), 0)
        head = b'070701' + b''.join(b'%08X' % f for f in fields) + raw
        self.out.write(head + b'\0' * (-len(head) % 4))
        self.out.write(data + b'\0' * (-len(data) % 4))

    def dir(self, name):
        self._entry(name, stat.S_IFDIR | 0o755)

    def text(self, name, text, mode=0o644):
        self._entry(name, stat.S_IFREG | mode, text.encode())

    def data(self, name, data, mode=0o644):
        self._entry(name, stat.S_IFREG | mode, data)

    def file(self, name, path):
        with open(path, 'rb') as f:
            mode = 0o755 if os.access(path, os.X_OK) else 0o644
            self._entry(name, stat.S_IFREG | mode, f.read())

    def link(self, name, target):
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def node(self, name, major, minor):
        self._entry(name, stat.S_IFCHR | 0o600, rdev=(major, minor))

    def finish(self):
        self._entry('TRAILER!!!', 0)


def _module_paths(kernel_dir, release, module):
    """The files a module needs, in the order of loading; none when built in."""
    run = subprocess.run(['modprobe', '-d', kernel_dir, '-S', release,
                          '--show-depends', module],
                         capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f'{module}: not a module of {release}')
    return re.findall(r'^insmod (\S+)', run.stdout, re.M)


def _release(kernel_dir):
    with open(f'{kernel_dir}/release') as f:
        return f.read().strip()


def _module_needs(path):
    """Names of the modules that a module file of ours needs."""
    said = subprocess.run(['modinfo', '-F', 'depends', path], check=True,
                          stdout=subprocess.PIPE, text=True).stdout.strip()
    return said.split(',') if said else []


def _add_modules(cpio, kernel_dir, modules, own):
    release = _release(kernel_dir)
    top = f'{kernel_dir}/lib/modules/{release}'
    depends = {}
    lines = []
    for module in [*modules, *(need for needs in own.values() for need in needs)]:
        paths = _module_paths(kernel_dir, release, module)
        for i, path in enumerate(paths):
            depends.setdefault(path, paths[:i][::-1])
    for name, needs in own.items():
        paths = [p for need in needs for p in _module_paths(kernel_dir, release, need)]
        rel = [os.path.relpath(p, top).removesuffix('.xz') for p in paths[::-1]]
        lines.append(f'extra/{name}: {" ".join(dict.fromkeys(rel))}\n')
    for path, deps in depends.items():
        rel = [os.path.relpath(p, top).removesuffix('.xz') for p in [path, *deps]]
        lines.append(f'{rel[0]}: {" ".join(rel[1:])}\n')
        with (lzma.open if path.endswith('.xz') else open)(path, 'rb') as f:
            cpio.data(f'lib/modules/{release}/{rel[0]}', f.read())
    present = {re.sub(r'\.ko.*', '', os.path.basename(p)).replace('-', '_')
               for p in depends}
    with open(f'{top}/modules.alias') as f:
        alias = [line for line in f if line.split()[-1] in present]
    cpio.text(f'lib/modules/{release}/modules.dep', ''.join(lines))
    cpio.text(f'lib/modules/{release}/modules.alias', ''.join(alias))
    cpio.file(f'lib/modules/{release}/modules.builtin', f'{top}/modules.builtin')


def _libraries(path):
    """Shared objects that a program needs, the loader among them."""
    run = subprocess.run(['ldd', path], capture_output=True, text=True)
    if 'not found' in run.stdout:
        raise RuntimeError(f'{path}: {run.stdout}')
    return re.findall(r'(/\S+) \(0x', run.stdout)


def _add_program(cpio, host, name):
    cpio.file(name, host)
    for lib in _libraries(host):
        cpio.file(lib, lib)


def _write_base(out, kernel_dir, modules, own):
    cpio = Cpio(out)
    cpio.node('dev/console', 5, 1)
    cpio.node('dev/null', 1, 3)
    for name in 'proc sys tmp run root mnt etc var test'.split():
        cpio.dir(name)
    busybox = shutil.which('busybox')
    cpio.file('bin/busybox', busybox)
    applets = subprocess.run([busybox, '--list'], capture_output=True, text=True)
    # The shell of scripts: that of busybox would prefer its own mke2fs to ours.
    _add_program(cpio, '/bin/dash', 'bin/sh')
    for applet in applets.stdout.split():
        cpio.link(f'bin/{applet}', '/bin/busybox')
    cpio.link('sbin/modprobe', '/bin/busybox')    # what the kernel calls
    cpio.text('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\n')
    cpio.text('etc/group', 'root:x:0:\n')
    cpio.text('guest/modules', ' '.join(BOOT_MODULES) + '\n')
    cpio.text('init', INIT, 0o755)
    _add_modules(cpio, kernel_dir, BOOT_MODULES + modules, own)
    cpio.finish()


def base(cache_dir, kernel_dir, modules):
    """Path of the cached base archive with these modules, and the files to add.

    A module that is a path is one of ours: it changes too often for the cache, only
    what it needs is in the base.
    """
    files = {}
    own = {}
    for path in (m for m in modules if '/' in m):
        name = os.path.basename(path)
        own[name] = _module_needs(path)
        files[f'/lib/modules/{_release(kernel_dir)}/extra/{name}'] = path
    modules = sorted({m for m in modules if '/' not in m})
    recipe = hashlib.sha256()
    for path in (__file__, shutil.which('busybox')):
        with open(path, 'rb') as f:
            recipe.update(f.read())
    recipe.update(repr((os.path.realpath(kernel_dir), modules, own)).encode())
    path = f'{cache_dir}/initramfs-{recipe.hexdigest()[:16]}.cpio'
    if not os.path.exists(path):
        with tempfile.NamedTemporaryFile(dir=cache_dir, delete=False) as out:
            try:
                _write_base(out, kernel_dir, modules, own)
            except BaseException:
                os.unlink(out.name)
                raise
        os.chmod(out.name, 0o644)
        os.rename(out.name, path)
    return path, files


def write(path, base_path, script, programs, files, channels, network):
    """Write the root of one guest: the base, then what this run adds.

    programs: names or paths; one of the build goes to /usr/local/bin.
    files: guest path -> host path.
    """
    with open(path, 'wb') as out:
        with open(base_path, 'rb') as f:
            shutil.copyfileobj(f, out, 1 << 20)
        out.write(b'\0' * (-out.tell() % 512))
        cpio = Cpio(out)
        cpio.text('guest/run', script)
        cpio.text('guest/channels', ' '.join(channels) + '\n')
        if network:
            cpio.text('guest/network', '')
        for program in programs:
            host = shutil.which(program)
            if not host:
                raise RuntimeError(f'{program}: no such program')
            host = os.path.abspath(host)
            system = host.startswith(('/usr/', '/bin/', '/sbin/'))
            _add_program(cpio, host, host if system else
                         f'usr/local/bin/{os.path.basename(host)}')
        for guest, host in files.items():
            cpio.file(guest, host)
        cpio.finish()
