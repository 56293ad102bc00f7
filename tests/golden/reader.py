#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""A second reader of a store, written from docs/SEGMENT.md, STORE.md, PACK.md and
ENCRYPTION.md alone.

  reader.py DIR points                     cut, time, members of every recovery point
  reader.py DIR image CUT VOLUME FILE      the volume at the point, as a raw image

DIR is the directory of one group (a timeline). With --runs an image is looked up in the
runs, as STORE.md says, and in the segments only where no run is; without, runs are left
alone. --keys FILE has the keys of an encrypted store. Sectors that could not be read at the source become zeroes, and are named.
Branches are not read. A group whose main line is a branch (BRANCH.md) is refused: --old-line reads
what it has itself.

It shares nothing with the rest of the project: if the pages and the code say
different things, tests/e2e/golden finds out. It is small rather than fast.
"""

import argparse
import json
import os
import struct
import sys
from collections import namedtuple

import aes_gcm

BLOCK = 4096
SECTOR = 512

# -- arithmetic --


def crc_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82f63b78 if n & 1 else 0)
        table.append(n)
    return table


CRC_TABLE = crc_table()


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 0xff]
    return crc ^ 0xffffffff


def crc_is(data, at):
    """Whether the u32 at @at is the CRC of @data with that field as 0."""
    return struct.unpack_from('<I', data, at)[0] == \
        crc32c(data[:at] + bytes(4) + data[at + 4:])


def lz4_block(data, size):
    """Unpack one LZ4 block."""
    out, i = bytearray(), 0

    def length(n):
        nonlocal i
        if n == 15:
            while True:
                n += data[i]
                i += 1
                if data[i - 1] != 255:
                    break
        return n

    while i < len(data):
        token = data[i]
        i += 1
        literals = length(token >> 4)
        out += data[i:i + literals]
        i += literals
        if i >= len(data):
            break
        back = data[i] | data[i + 1] << 8
        i += 2
        nr = length(token & 15) + 4
        need(0 < back <= len(out), 'lz4: a match before the beginning')
        for _ in range(nr):
            out.append(out[-back])
    need(len(out) == size, f'lz4: {len(out)} bytes in place of {size}')
    return bytes(out)


class Damaged(Exception):
    pass


def need(good, what):
    if not good:
        raise Damaged(what)


# -- manifest --

Volume = namedtuple('Volume', 'id size name identity')
Run = namedtuple('Run', 'number first last last_ordinal nr_entries nr_blocks level')
PackRecord = namedtuple('PackRecord',
                        'number first last last_ordinal points_no nr_extents live_bytes file_bytes')
Line = namedtuple('Line', 'epoch cut name')
Points = namedtuple('Points', 'number last_segment last_ordinal nr_commits file_bytes flags')


class Manifest:
    def __init__(self, path):
        with open(path, 'rb') as f:
            data = f.read()
        self.volumes, self.ends, self.runs, self.incarnation = {}, {}, [], 0
        self.packs = []
        self.points = self.line = None
        self.durable = 0
        at = 0
        while at + 16 <= len(data):
            magic, version, kind, size, _ = struct.unpack_from('<4sHHII', data, at)
            record = data[at:at + size]
            # Only the last one can be torn, by a crash; it does not exist.
            if magic != b'BSM1' or size < 16 or len(record) < size or not crc_is(record, 12):
                break
            need(version == 1, 'manifest: version')
            need((kind == 1) == (at == 0), 'manifest: identity comes first, and once')
            self.take(kind, record[16:])
            at += size
        need(at > 0, 'manifest: no identity')

    def take(self, kind, p):
        if kind == 1:
            self.timeline, _, self.epoch, _, owner = struct.unpack('<16sQII64s', p)
            self.owner = owner.split(b'\0')[0].decode()
        elif kind == 2:
            number, size, name, identity = struct.unpack('<H6xQ32s64s', p)
            self.volumes[number] = Volume(number, size, name.split(b'\0')[0].decode(),
                                          identity.split(b'\0')[0].decode())
        elif kind == 3:
            self.incarnation = struct.unpack_from('<I', p)[0]
        elif kind == 4:
            number, end, ordinal = struct.unpack('<QQQ', p)
            self.ends[number] = (end, ordinal)
        elif kind == 5:
            run = Run(*struct.unpack('<QQQQQII', p))
            self.runs = [r for r in self.runs if r.last < run.first or r.first > run.last]
            self.runs.append(run)
            self.runs.sort(key=lambda r: r.first)
        elif kind == 6:
            self.points = Points(*struct.unpack('<QQQQQI4x', p))
        elif kind == 8:
            pack = PackRecord(*struct.unpack('<QQQQQQQQ', p))
            for old in self.packs:
                need(old.last < pack.first or old.first > pack.last or
                     pack.first <= old.first and old.last <= pack.last,
                     f'manifest: pack {pack.number} covers a part of pack {old.number}')
            self.packs = [o for o in self.packs if o.last < pack.first or o.first > pack.last]
            self.packs.append(pack)
            self.packs.sort(key=lambda o: o.first)
        elif kind in (7, 11):
            pass        # policies and pins say what will stay, not what is there
        elif kind == 10:
            pass        # keys are found by the headers of segments
        elif kind == 12:
            epoch, reserved, cut, name = struct.unpack('<II16xQ24x32s', p)
            need(epoch == (self.line.epoch if self.line else self.epoch) + 1 and not reserved,
                 'manifest: epochs')
            need(cut and name[0] and b'\0' in name, 'manifest: a main line that is none')
            self.line = Line(epoch, cut, name.split(b'\0')[0].decode())
        elif kind == 13:
            self.durable = struct.unpack('<QQ', p)[0]
        else:
            raise Damaged(f'manifest: a record of type {kind}, which this reader does not know')


# -- segments --

# One version: an extent of a unit. @order sorts versions as "Views" says.
Version = namedtuple('Version', 'volume offset length kind label order unit data_offset first_crc')
Commit = namedtuple('Commit', 'ordinal cut time gaps holds repairs volumes durable')
Unit = namedtuple('Unit', 'segment offset')

DATA, ZERO, DISCARD, UNREADABLE = 1, 2, 3, 4
STORED, LZ4 = 0, 1


def commit_read(data, at):
    """The commit record there, or None; and its bytes."""
    if data[at:at + 4] != b'BSC1' or at + 128 > len(data):
        return None, 0
    version, _, size = struct.unpack_from('<HHI', data, at + 4)
    record = data[at:at + size]
    if version != 1 or size < 128 or len(record) != size or not crc_is(record, 12):
        return None, 0
    ordinal, cut, time = struct.unpack_from('<QQQ', record, 16)
    nr_gaps, nr_holds, nr_repairs, nr_volumes = struct.unpack_from('<IIII', record, 64)
    durable = struct.unpack_from('<Q', record, 104)[0]
    need(size == 128 + 16 * nr_gaps + 24 * nr_holds + 16 * nr_repairs + 16 * nr_volumes,
         'commit: tables')
    p, tables = 128, []
    for nr, layout in ((nr_gaps, '<QQ'), (nr_holds, '<QQQ'), (nr_repairs, '<QQ'),
                       (nr_volumes, '<H2xIQ')):
        step = struct.calcsize(layout)
        tables.append([struct.unpack_from(layout, record, p + i * step) for i in range(nr)])
        p += nr * step
    commit = Commit(ordinal, cut, time, *tables[:3], {v: size for v, _, size in tables[3]}, durable)
    return (commit, struct.unpack_from('<QII', record, 48)), size


def unit_read(data, at):
    """Header fields, extents and CRC table of the unit there, or None."""
    if data[at:at + 4] != b'BSU1' or at + 64 > len(data):
        return None
    (version, codec, flags, size, stored, nr_data, nr_extents, _, nr_crcs, header_crc, ordinal,
     label, readback, stored_crc, _) = struct.unpack_from('<HBBIIIHHIIQQQII', data, at + 4)
    tables = 64 + 32 * nr_extents
    head, seal = tables + 4 * nr_crcs, 28 if flags & 2 else 0
    end = head + stored + seal
    if version != 1 or at + size > len(data) or size != (end + 7) // 8 * 8 or flags & ~3 or \
       not crc_is(data[at:at + head], 28) or crc32c(data[at + head:at + end]) != stored_crc:
        return None
    extents = [struct.unpack_from('<QQHBxII4x', data, at + 64 + 32 * i) for i in range(nr_extents)]
    crcs = struct.unpack_from(f'<{nr_crcs}I', data, at + 64 + 32 * nr_extents)
    return {'codec': codec, 'bytes': size, 'data_bytes': nr_data, 'header_crc': header_crc,
            'ordinal': ordinal, 'label': label, 'readback': readback if flags & 1 else 0,
            'extents': extents, 'crcs': crcs, 'stored': data[at + head:at + head + stored],
            'seal': data[at + end - seal:at + end],
            'clear': data[at:at + 28] + bytes(4) + data[at + 32:at + 56] + bytes(4) +
                     data[at + 60:at + tables], 'at': at}


class Units:
    """A file with units, which may be encrypted."""

    def __init__(self, name, text, key, place_):
        self.name, self.text, self.key, self.place, self.gcm = name, text, key, place_, None

    def open_unit(self, unit, keys):
        """The CRC table and stored data of a unit, in clear."""
        need(bool(unit['seal']) == bool(self.key), 'unit: encrypted where nothing is, or not')
        if not self.key:
            return unit['crcs'], unit['stored']
        if not self.gcm:
            need(self.key[0] in keys, f'{self.name}: its key is not there')
            self.gcm = aes_gcm.Gcm(aes_gcm.hkdf(keys[self.key[0]], self.key[1],
                                                self.text + self.place, 32))
        nr = len(unit['crcs'])
        plain = self.gcm.decrypt(unit['seal'][:12], unit['clear'] + struct.pack('<Q', unit['at']),
                                 struct.pack(f'<{nr}I', *unit['crcs']) + unit['stored'],
                                 unit['seal'][12:])
        need(plain is not None, f'{self.name}, byte {unit["at"]}: does not decrypt')
        return struct.unpack_from(f'<{nr}I', plain), plain[4 * nr:]


class Segment(Units):
    """Its commits and versions. Found by its footer, or read from the start."""

    def __init__(self, manifest, path, number, first_ordinal):
        with open(path, 'rb') as f:
            self.data = f.read()
        self.number, self.commits, self.versions = number, [], []
        self.next = first_ordinal
        head = self.data[:BLOCK]
        if len(head) < BLOCK or head[:4] != b'BSG1' or not crc_is(head, 12):
            return      # nothing of it ever counted
        version, flags, _, _, timeline, mine, first = struct.unpack_from('<HHII16sQQ', head, 4)
        super().__init__(f'segment {number}', b'blkship segment 1',
                         struct.unpack_from('<16s32s', head, 64) if flags & 1 else None,
                         timeline + struct.pack('<Q', mine))
        need(version == 1 and timeline == manifest.timeline and mine == number and
             first == first_ordinal, f'segment {number}: header')
        self.end = manifest.ends[number][0] if number in manifest.ends else len(self.data)
        self.scan()
        if number in manifest.ends:
            need(self.next == manifest.ends[number][1] + 1, f'segment {number}: its end')
        self.footer_agrees()

    def scan(self):
        at = BLOCK
        while at < self.end:
            at = self.batch(at)
            if not at:
                break

    def batch(self, at):
        """Take the batch there; where the next one is, or 0: no batch counts there."""
        nr, size, chain, versions = 0, 0, b'', []
        while True:
            unit = unit_read(self.data, at)
            if not unit:
                break
            if unit['ordinal'] != self.next:
                return 0
            for i, (offset, length, volume, kind, data_offset, first_crc) in \
                    enumerate(unit['extents']):
                readback = unit['readback'] + i if unit['readback'] else 0
                versions.append(Version(volume, offset, length, kind, unit['label'],
                                        (unit['label'], readback, self.number, at, i),
                                        Unit(self, at), data_offset, first_crc))
            nr, size, at = nr + 1, size + unit['bytes'], at + unit['bytes']
            chain += struct.pack('<I', unit['header_crc'])
        found, length = commit_read(self.data, at)
        if not found:
            return 0
        commit, (batch_bytes, nr_units, units_crc) = found
        end = (at + length + BLOCK - 1) // BLOCK * BLOCK
        if commit.ordinal != self.next or nr_units != nr or batch_bytes != size or \
           crc32c(chain) != units_crc or end > self.end:
            return 0
        self.commits.append(commit)
        self.versions += versions
        self.next += 1
        return end

    def footer_agrees(self):
        """Where it is sealed: what the footer says is what was found without it."""
        self.sealed = False
        trailer = self.data[-BLOCK:]
        if len(self.data) % BLOCK or trailer[:4] != b'BST1' or not crc_is(trailer, 36):
            return
        footer, size = struct.unpack_from('<QQ', trailer, 8)
        body = self.data[footer:footer + size]
        need(body[:4] == b'BSF1' and crc_is(body, 12), f'segment {self.number}: footer')
        nr_extents, nr_commits = struct.unpack_from('<QQ', body, 16)
        need(nr_commits == len(self.commits) and nr_extents == len(self.versions),
             f'segment {self.number}: footer counts')
        for i, v in enumerate(self.versions):
            offset, length, volume, kind, data_offset, _, unit, label, readback, _ = \
                struct.unpack_from('<QQHBxII4xQQQQ', body, 32 + 64 * i)
            need((offset, length, volume, kind, data_offset, unit, label, readback) ==
                 (v.offset, v.length, v.volume, v.kind, v.data_offset, v.unit.offset, v.label,
                  v.order[1]), f'segment {self.number}: footer entry {i}')
        self.sealed = True


# -- packs --


class Pack(Units):
    """What was live of some segments: parts of their extents, and some of their commits."""

    def __init__(self, manifest, path, named):
        with open(path, 'rb') as f:
            self.data = f.read()
        number, head = named.number, self.data[:BLOCK]
        need(head[:4] == b'BSK1' and crc_is(head, 12), f'pack {number}: header')
        (version, flags, _, _, timeline, *fields) = struct.unpack_from('<HHII16s10Q4I', head, 4)
        (mine, first, last, self.first_ordinal, last_ordinal, points_no, nr_extents, live_bytes,
         self.data_end, tables_bytes, self.nr_blocks, _, self.nr_commits, tables_crc) = fields
        need(version == 1 and timeline == manifest.timeline and named ==
             PackRecord(mine, first, last, last_ordinal, points_no, nr_extents, live_bytes,
                        len(self.data)), f'pack {number}: other than the manifest says')
        super().__init__(f'pack {number}', b'blkship pack 1',
                         struct.unpack_from('<16s32s', head, 128) if flags & 1 else None,
                         timeline + struct.pack('<Q', number))
        self.number, self.named, self.versions, self.parts = number, named, [], {}
        tables = self.directory()
        need(len(self.versions) == nr_extents, f'pack {number}: extents')
        body = self.data[tables:tables + tables_bytes]
        need(crc32c(body) == tables_crc, f'pack {number}: tables')
        self.tables(body, body[:len(body) - struct.unpack_from('<I', head, 176)[0]])

    def directory(self):
        """Take all parts; where the directory ends."""
        last, at = None, self.data_end
        for number in range(self.nr_blocks):
            block = self.data[at:at + BLOCK]
            _, mine, place_, nr = struct.unpack_from('<IIIH', block)
            need(crc_is(block, 0) and (mine, place_) == (self.number & 0xffffffff, number) and
                 1 <= nr <= 56 and (nr == 56 or number + 1 == self.nr_blocks),
                 f'{self.name}: block {number} of the directory')
            for i in range(nr):
                origin = self.part(struct.unpack_from('<QQQQQIIIIIHHB', block, 16 + 72 * i))
                need(last is None or last < origin, f'{self.name}: order of the directory')
                last = origin
            at += BLOCK
        return at

    def part(self, fields):
        """Take one; where it was."""
        (offset, length, label, readback, _, segment, unit_at, from_, at, data_offset, extent,
         volume, kind) = fields
        version = Version(volume, offset, length, kind, label,
                          (label, readback, segment, unit_at * 8, extent), Unit(self, at * 8),
                          data_offset, 0)
        self.versions.append(version)
        self.parts.setdefault((segment, unit_at, extent), []).append((from_, version))
        return segment, unit_at, extent, from_

    def tables(self, body, commits):
        nr = self.named.last - self.named.first + 1
        self.ordinals = struct.unpack_from(f'<{nr}Q', body)
        need(self.ordinals[-1] == self.named.last_ordinal, f'{self.name}: ordinals')
        self.commits, at = [], 8 * nr
        while at < len(commits):
            found, size = commit_read(commits, at)
            need(found, f'{self.name}: a commit')
            self.commits.append(found[0])
            at += size
        need(len(self.commits) == self.nr_commits, f'{self.name}: commits')

    def find(self, e):
        """The part that has the place of an entry of a run; None: nothing there was live."""
        for from_, v in self.parts.get((e.segment, e.unit, e.extent), ()):
            if v.kind != DATA or from_ <= e.sector * SECTOR < from_ + v.length:
                return v
        return None


# -- runs --

Entry = namedtuple('Entry', 'offset label readback segment unit extent volume sector shift kind')
Fence = namedtuple('Fence', 'offset label child volume shift')


class RunFile:
    """A search tree over versions, cut into pieces of powers of two."""

    def __init__(self, manifest, path, run):
        with open(path, 'rb') as f:
            self.data = f.read()
        head = self.data[:BLOCK]
        need(head[:4] == b'BSR1' and crc_is(head, 12), f'run {run.number}: header')
        (version, _, _, _, timeline, number, first, last, last_ordinal, nr_entries, self.lengths,
         nr_blocks, self.root, level) = struct.unpack_from('<HHII16sQQQQQQIII', head, 4)
        need(version == 1 and timeline == manifest.timeline and
             Run(number, first, last, last_ordinal, nr_entries, nr_blocks, level) == run and
             len(self.data) == nr_blocks * BLOCK, f'run {run.number}: other than the manifest says')
        self.number, self.blocks = number, {}

    def block(self, block):
        """Its depth, and its entries (depth 0) or fences."""
        if block not in self.blocks:
            data = self.data[block * BLOCK:(block + 1) * BLOCK]
            need(crc_is(data, 0) and struct.unpack_from('<II', data, 4) ==
                 (self.number & 0xffffffff, block), f'run {self.number}: block {block}')
            nr, depth = struct.unpack_from('<HB', data, 12)
            self.blocks[block] = (depth, [
                Fence(*struct.unpack_from('<QQIHBx', data, 16 + 24 * i)) if depth else
                Entry(*struct.unpack_from('<QQQIIHHBBBx', data, 16 + 40 * i)) for i in range(nr)])
        return self.blocks[block]

    def all(self):
        for block in range(1, len(self.data) // BLOCK):
            depth, entries = self.block(block)
            if depth == 0:
                yield from entries

    def newest(self, volume, offset, shift, cut):
        """The newest version at or below @cut of the piece that begins there, or None."""
        if not self.root:
            return None
        wanted = (volume, offset, -shift, -cut)
        path, block = [], self.root
        while self.block(block)[0]:
            fences, child = self.block(block)[1], 0
            while child + 1 < len(fences) and place(fences[child + 1]) < wanted:
                child += 1
            path.append((fences, child))
            block = fences[child].child
        while block:
            for e in self.block(block)[1]:
                if place(e) >= wanted:
                    same = (e.volume, e.offset, e.shift) == (volume, offset, shift)
                    return e if same else None
            block = self.next_leaf(path)
        return None

    def next_leaf(self, path):
        while path:
            fences, child = path.pop()
            if child + 1 == len(fences):
                continue
            path.append((fences, child + 1))
            block = fences[child + 1].child
            while self.block(block)[0]:
                fences = self.block(block)[1]
                path.append((fences, 0))
                block = fences[0].child
            return block
        return 0


def place(e):
    """Where an entry or fence is in the order; lengths and labels fall."""
    return (e.volume, e.offset, -e.shift, -e.label)


def pieces(offset, length):
    """An extent as the fewest aligned powers of two."""
    while length:
        size = 1 << (length.bit_length() - 1)
        while offset % size:
            size >>= 1
        yield offset, size
        offset, length = offset + size, length - size


# -- the points file --

class PointsFile:
    """Which commits exist up to the end of a segment; twice in the file."""

    def __init__(self, manifest, path, named):
        with open(path, 'rb') as f:
            data = f.read()
        need(len(data) == named.file_bytes, f'points file {named.number}: size')
        half = len(data) // 2
        good = [c for c in (data[:half], data[half:]) if self.checks(c)]
        need(good, f'points file {named.number}: neither copy checks')
        timeline, number, last_segment, last_ordinal = struct.unpack_from('<16sQQQ', good[0], 16)
        nr_commits, = struct.unpack_from('<Q', good[0], 120)
        need(timeline == manifest.timeline and
             (number, last_segment, last_ordinal, nr_commits) == named[:4],
             f'points file {named.number}: other than the manifest says')
        self.last_ordinal = last_ordinal
        self.ordinals = {struct.unpack_from('<Q', good[0], BLOCK + 80 * i)[0]
                         for i in range(nr_commits)}

    @staticmethod
    def checks(copy):
        return (copy[:4] == b'BSL1' and crc_is(copy[:BLOCK], 12) and
                struct.unpack_from('<H', copy, 4)[0] == 1 and
                crc32c(copy[BLOCK:]) == struct.unpack_from('<I', copy, 156)[0])


# -- a timeline --


def keys_read(path):
    """Keys by their ids."""
    with open(path, encoding='ascii') as f:
        lines = [line.strip() for line in f]
    keys = [bytes.fromhex(line) for line in lines if line and not line.startswith('#')]
    return {aes_gcm.hkdf(key, None, b'blkship key id 1', 16): key for key in keys}


class Timeline:
    def __init__(self, directory, runs=False, keys=None):
        self.dir, self.keys = directory, keys or {}
        self.manifest = Manifest(os.path.join(directory, 'manifest'))
        self.segments, self.packs, self.commits = {}, [], []
        self.files_read()
        self.exists = self.commits
        if self.manifest.points:
            named = self.manifest.points
            kept = PointsFile(self.manifest, os.path.join(directory, f'{named.number:016x}.points'),
                              named)
            self.exists = [c for c in self.commits
                           if c.ordinal > kept.last_ordinal or c.ordinal in kept.ordinals]
        self.runs = [RunFile(self.manifest, os.path.join(directory, f'{r.number:016x}.run'), r)
                     for r in self.manifest.runs] if runs else []
        covered = {n for r in self.manifest.runs for n in range(r.first, r.last + 1)} if runs else ()
        self.rest = [v for n, s in self.segments.items() if n not in covered for v in s.versions]
        self.rest += [v for p in self.packs for v in p.versions if v.order[2] not in covered]
        self.unpacked = {}

    def files_read(self):
        """Segments by their numbers, or the packs in their places."""
        numbers = {int(n[:16], 16) for n in os.listdir(self.dir) if n.endswith('.seg')}
        number, ordinal = 1, 1
        packs = {p.first: p for p in self.manifest.packs}
        last = max(numbers | {p.last for p in self.manifest.packs}, default=0)
        while number <= last:
            if number in packs:
                file = Pack(self.manifest, os.path.join(
                    self.dir, f'{packs[number].number:016x}.pack'), packs[number])
                need(file.first_ordinal == ordinal, f'{file.name}: its first batch')
                self.packs.append(file)
                ordinal, number = file.named.last_ordinal + 1, file.named.last + 1
            else:
                need(number in numbers, f'segment {number} is missing')
                path = os.path.join(self.dir, f'{number:016x}.seg')
                self.segments[number] = file = Segment(self.manifest, path, number, ordinal)
                ordinal, number = file.next, number + 1
            self.commits += file.commits
        need(ordinal > self.manifest.durable, f'commit {self.manifest.durable} was durable and is missing')

    def pack_of(self, segment):
        return next((p for p in self.packs if p.named.first <= segment <= p.named.last), None)

    # -- which commits are points --

    def points(self):
        holds, gaps, repairs = {}, [], []
        for c in self.commits:
            gaps += c.gaps
            repairs += c.repairs
            for number, first, end in c.holds:      # the latest word counts
                holds[number] = (first, end)

        def listed(cut):
            if any(first <= cut and (not end or cut < end) for first, end in holds.values()):
                return False
            repaired = max([t0 for t0, end in repairs if end <= cut], default=0)
            # No seq of a gap lies past the repair and at or below the cut.
            return not any(max(first, repaired + 1) <= min(last, cut) for first, last in gaps)

        points, cuts = [], set()
        for c in self.exists:
            if c.cut not in cuts and listed(c.cut):
                points.append(c)
                cuts.add(c.cut)
        return points

    # -- content --

    def versions_at(self, volume, size, cut):
        """What may be seen, from old to new."""
        versions = [v for v in self.rest if v.volume == volume and v.label <= cut]
        for run in self.runs:
            versions += self.run_versions(run, volume, size, cut)
        return sorted(versions, key=lambda v: v.order)

    def run_versions(self, run, volume, size, cut):
        """The newest version of every place of the volume that can exist."""
        found = {}
        for shift in range(9, 61):
            if not run.lengths >> shift & 1:
                continue
            for offset in range(0, size, 1 << shift):
                e = run.newest(volume, offset, shift, cut)
                v = e and self.entry_version(e)
                if v:
                    found[(offset, shift)] = v
        return found.values()

    def packed_version(self, e, part):
        need((part.volume, part.kind, part.label) == (e.volume, e.kind, e.label) and
             part.offset <= e.offset and e.offset + (1 << e.shift) <= part.offset + part.length,
             f'an entry of a run and its pack differ: segment {e.segment}, byte {e.unit * 8}')
        return Piece(part, e.offset, 1 << e.shift)

    def entry_version(self, e):
        pack = self.pack_of(e.segment)
        if pack:
            part = pack.find(e)
            return part and self.packed_version(e, part)
        segment = self.segments[e.segment]
        unit = unit_read(segment.data, e.unit * 8)
        offset, length, volume, kind, data_offset, first_crc = unit['extents'][e.extent]
        need(volume == e.volume and kind == e.kind and unit['label'] == e.label and
             offset <= e.offset and e.offset + (1 << e.shift) <= offset + length,
             f'an entry of a run points to another extent: segment {e.segment}, byte {e.unit * 8}')
        if kind == DATA:
            need(e.sector * SECTOR == data_offset + e.offset - offset, 'entry: data_sector')
        # The piece only, but with the extent's own place for the CRCs.
        order = (e.label, e.readback, e.segment, e.unit * 8, e.extent)
        whole = Version(volume, offset, length, kind, e.label, order, Unit(segment, e.unit * 8),
                        data_offset, first_crc)
        return Piece(whole, e.offset, 1 << e.shift)

    def data(self, unit):
        """Unpacked and checked data of a unit."""
        key = (unit.segment.name, unit.offset)
        if key not in self.unpacked:
            u = unit_read(unit.segment.data, unit.offset)
            need(u, f'{unit.segment.name}, byte {unit.offset}: no unit')
            need(not isinstance(unit.segment, Pack) or
                 (u['ordinal'], u['label']) == (unit.segment.number, unit.offset),
                 f'{unit.segment.name}, byte {unit.offset}: a unit of elsewhere')
            need(u['codec'] in (STORED, LZ4), 'unit: codec')
            u['crcs'], data = unit.segment.open_unit(u, self.keys)
            data = data if u['codec'] == STORED else lz4_block(data, u['data_bytes'])
            need(len(data) == u['data_bytes'], 'unit: data_bytes')
            for offset, length, _, kind, data_offset, first_crc in u['extents']:
                if kind == DATA:
                    self.check(u, data, offset, length, data_offset, first_crc)
            self.unpacked[key] = data
        return self.unpacked[key]

    @staticmethod
    def check(unit, data, offset, length, data_offset, first_crc):
        """One CRC for each piece of the extent that lies in one block of the volume."""
        at, end, i = offset, offset + length, first_crc
        while at < end:
            to = min(end, at // BLOCK * BLOCK + BLOCK)
            from_ = data_offset + at - offset
            need(crc32c(data[from_:from_ + to - at]) == unit['crcs'][i],
                 f'data at byte {at} are not what was captured')
            at, i = to, i + 1

    def image(self, cut, volume):
        """Content and unreadable stretches of a volume at a point."""
        first = next(c for c in self.commits if c.cut == cut)
        size = first.volumes[volume]
        image, bad = bytearray(size), bytearray(size // SECTOR)
        for v in self.versions_at(volume, size, cut):
            start, end = v.offset, min(v.offset + v.length, size)
            if start >= end:
                continue
            content = bytes(end - start)
            if v.kind == DATA:
                from_ = v.data_offset
                content = self.data(v.unit)[from_:from_ + end - start]
            image[start:end] = content
            flag = b'\1' if v.kind == UNREADABLE else b'\0'
            bad[start // SECTOR:end // SECTOR] = flag * ((end - start) // SECTOR)
        return bytes(image), [i for i, b in enumerate(bad) if b]


class Piece:
    """A part of a version, with the version's order."""

    def __init__(self, version, offset, length):
        self.offset, self.length, self.kind = offset, length, version.kind
        self.order, self.unit, self.volume = version.order, version.unit, version.volume
        self.data_offset = version.data_offset + (offset - version.offset if version.kind == DATA
                                                  else 0)


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('dir')
    p.add_argument('--runs', action='store_true')
    p.add_argument('--keys')
    p.add_argument('--old-line', action='store_true',
                   help='what the group has itself, although a branch is its main line')
    sub = p.add_subparsers(dest='what', required=True)
    sub.add_parser('points')
    image = sub.add_parser('image')
    image.add_argument('cut', type=int)
    image.add_argument('volume')
    image.add_argument('file')
    args = p.parse_args()
    timeline = Timeline(args.dir, args.runs, keys_read(args.keys) if args.keys else None)
    line = timeline.manifest.line
    need(not line or args.old_line, line and
         f'branch {line.name} is the main line past cut {line.cut}: branches are not read; --old-line')
    if args.what == 'points':
        for c in timeline.points():
            print(json.dumps({'cut': c.cut, 'time_ns': c.time, 'volumes': {
                timeline.manifest.volumes[v].name: size for v, size in c.volumes.items()}}))
        return 0
    volume = next(v.id for v in timeline.manifest.volumes.values() if v.name == args.volume)
    content, bad = timeline.image(args.cut, volume)
    with open(args.file, 'wb') as f:
        f.write(content)
    for sector in bad:
        print(f'sector {sector} could not be read at the source', file=sys.stderr)
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except Damaged as e:
        sys.exit(f'reader.py: {e}')
