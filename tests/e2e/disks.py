# SPDX-License-Identifier: GPL-2.0-only
"""What the tests of looking into points share: disks with something on them, replicated."""

import os
import struct
import subprocess

import e2e


def run(*argv, **more):
    return subprocess.run(list(map(str, argv)), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, errors='replace', timeout=e2e.PATIENCE_S, check=False, **more)


def checked(*argv):
    proc = run(*argv)
    if proc.returncode:
        raise AssertionError(f'{argv}: {proc.stderr}')


def can_loop():
    """Why not, if block devices cannot be had here."""
    if os.getuid():
        return 'not root'
    for path in ('/dev/fuse', '/dev/loop-control'):
        try:
            os.close(os.open(path, os.O_RDWR))
        except OSError as e:
            return f'{path}: {e.strerror}'
    return None


def replicate(t, store, group, volumes):
    daemon, target = t.start_target(store)
    config = t.enrolled(store, target, f'host-{group}')
    source = t.source(config, target, volumes, '--mib', '0', group=group)
    source.wait_line('^durable')
    source.stop()
    t.ok(f'{group} is replicated', daemon.stop() == 0)


def marked(path, marker, mib):
    """A volume of what does not compress, with a text in each block."""
    with open(path, 'wb') as f:
        for _ in range(mib << 8):
            f.write(marker + os.urandom(4096 - len(marker)))


def crashed_filesystem(t, name, mib, mkfs):
    """As a power cut leaves it: there is a journal to replay, where there is one."""
    image, where = t.path(f'{name}.image'), t.path('making')
    with open(image, 'wb') as f:
        f.truncate(mib << 20)
    checked(*mkfs, image)
    os.makedirs(where, exist_ok=True)
    checked('mount', '-o', 'loop', image, where)
    try:
        os.mkdir(f'{where}/etc')
        with open(f'{where}/etc/motd', 'w') as f:
            f.write(f'this is {name}\n' * 1000)
        checked('sync', '-f', where)
        checked('cp', '--sparse=always', image, t.path(f'{name}.disk'))
    finally:
        checked('umount', where)


def partitioned_disk(t):
    """A table of two: a filesystem of 8 MiB at 1 MiB, swap behind it."""
    part = t.path('part')
    os.makedirs(t.path('tree/boot'))
    with open(t.path('tree/boot/kernel'), 'w') as f:
        f.write('vmlinuz')
    checked('mke2fs', '-q', '-F', '-t', 'ext2', '-d', t.path('tree'), part, '8M')
    table = bytearray(512)
    for at, (kind, first, sectors) in zip((446, 462), ((0x83, 2048, 16384), (0x82, 18432, 8192))):
        table[at:at + 16] = struct.pack('<BBBBBBBBII', 0, 0, 2, 0, kind, 0, 2, 0, first, sectors)
    table[510:512] = b'\x55\xaa'
    with open(t.path('disk.disk'), 'wb') as f, open(part, 'rb') as g:
        f.truncate(16 << 20)
        f.write(table)
        f.seek(2048 * 512)
        f.write(g.read())
    with open(t.path('swap'), 'wb') as f:
        f.truncate(8192 * 512)
    checked('mkswap', t.path('swap'))
    with open(t.path('disk.disk'), 'r+b') as f, open(t.path('swap'), 'rb') as g:
        f.seek(18432 * 512)
        f.write(g.read())


MIB = 1 << 20
LV_EXTENT = 4 * MIB
# Segments of each: bytes of a stripe or None, and of each stripe physical volume, first extent, extents.
LVS = {'two': [(None, [(0, 0, 4)]), (None, [(0, 7, 1)])], 'one': [(None, [(0, 4, 2)])],
       'far': [(None, [(0, 8, 1)]), (None, [(1, 1, 2)])],
       'striped': [(65536, [(0, 6, 1), (1, 0, 1)]), (None, [(1, 3, 1)])]}


def lv_places(segments):
    """(disk, offset in it, bytes), in the order of the logical volume."""
    for stripe_bytes, stripes in segments:
        length = stripes[0][2] * LV_EXTENT
        step = stripe_bytes or length
        for at in range(0, length, step):
            for disk, extent, _ in stripes:
                yield disk, MIB + extent * LV_EXTENT + at, step


def logical_volumes(t):
    """A group of two disks as lvm2 lays it out: in one piece, in two, on both disks, in stripes, neither.

    A third disk is as the first: nothing may mind that its group and its parts have the same names.
    """
    def lvm(*argv):
        checked('env', f'LVM_SYSTEM_DIR={t.path("lvm")}', 'LVM_SUPPRESS_FD_WARNINGS=1', *argv)

    def make(name, *more):
        lvm('lvcreate', '-an', '-Zn', '-Wn', '-y', '-n', name, *more)

    disks = [t.path('lvm1.disk'), t.path('lvm2.disk')]
    for path in disks:
        with open(path, 'wb') as f:
            f.truncate(64 << 20)
    first, second = (run('losetup', '-f', '--show', path).stdout.strip() for path in disks)
    try:
        os.mkdir(t.path('lvm'))
        with open(t.path('lvm/lvm.conf'), 'w') as f:
            f.write(f'devices {{ use_devicesfile = 0 filter = [ "a|^{first}$|", "a|^{second}$|", "r|.*|" ] }}\n'
                    'global { activation = 0 event_activation = 0 use_lvmpolld = 0 }\n'
                    'backup { backup = 0 archive = 0 }\n')
        lvm('vgcreate', 'vg-test', first, second)
        make('two', '-L', '16M', 'vg-test', first)
        make('one', '-L', '8M', 'vg-test', first)
        make('striped', '-i2', '-L', '8M', 'vg-test', first, second)
        make('other', '--type', 'error', '-L', '4M', 'vg-test')
        lvm('lvextend', '-L', '20M', 'vg-test/two', first)
        make('far', '-L', '4M', 'vg-test', first)
        lvm('lvextend', '-L', '12M', 'vg-test/far', second)
        lvm('lvextend', '-i1', '-L', '12M', 'vg-test/striped', second)
    finally:
        checked('losetup', '-d', first, second)
    for name, segments in LVS.items():
        image, tree, places = t.path(f'{name}.image'), t.path(f'{name}.tree'), list(lv_places(segments))
        size = sum(length for _, _, length in places)
        os.makedirs(f'{tree}/srv')
        with open(f'{tree}/srv/file', 'wb') as f:
            f.write(os.urandom(size * 3 // 4))
        checked('mke2fs', '-q', '-F', '-t', 'ext4', '-d', tree, image, f'{size // MIB}M')
        with open(image, 'rb') as f:
            for disk, at, length in places:
                with open(disks[disk], 'r+b') as g:
                    g.seek(at)
                    g.write(f.read(length))
    checked('cp', '--sparse=always', disks[0], t.path('lvm3.disk'))
