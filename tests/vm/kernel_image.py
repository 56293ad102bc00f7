# SPDX-License-Identifier: GPL-2.0-only
"""The image of a kernel that boots fastest: without its decompressor.

A vmlinuz unpacks and relocates itself, which takes an emulator a second. QEMU boots
the kernel inside it as it is, where that has a PVH entry.
"""

import os
import struct
import subprocess
import tempfile
import zlib

# Where the boot protocol (Documentation/arch/x86/boot.rst) says what.
SETUP_SECTORS_AT = 0x1f1
PAYLOAD_AT = 0x248      # offset and length, 32 bits each; the last four bytes are a size
# How QEMU knows a kernel it can enter: name and type of an ELF note.
PVH_NOTE = struct.pack('<II4s', 4, 18, b'Xen\0')[4:]

UNPACK = {
    b'\x1f\x8b': lambda data: zlib.decompressobj(31).decompress(data),
    b'\x28\xb5': lambda data: _filter(['zstd', '-dc'], data),
    b'\x02\x21': lambda data: _filter(['lz4', '-dc'], data),
}


def _filter(command, data):
    return subprocess.run(command, input=data, check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout


def unpack(vmlinuz):
    """The kernel inside, or None when it is in no form that is known."""
    setup_bytes = ((vmlinuz[SETUP_SECTORS_AT] or 4) + 1) * 512
    at, size = struct.unpack_from('<II', vmlinuz, PAYLOAD_AT)
    payload = vmlinuz[setup_bytes + at:setup_bytes + at + size]
    unpacker = UNPACK.get(payload[:2])
    return unpacker(payload[:-4]) if unpacker else None


def path(kernel_dir):
    """Path of what to boot of a kernel's directory; kept there."""
    vmlinuz, vmlinux = f'{kernel_dir}/vmlinuz', f'{kernel_dir}/vmlinux'
    if not os.path.exists(vmlinux):
        with open(vmlinuz, 'rb') as f:
            kernel = unpack(f.read())
        if not kernel or PVH_NOTE not in kernel:
            kernel = b''        # empty: none that can be entered
        with tempfile.NamedTemporaryFile(dir=kernel_dir, delete=False) as out:
            out.write(kernel)
        os.chmod(out.name, 0o644)
        os.rename(out.name, vmlinux)
    return vmlinux if os.path.getsize(vmlinux) else vmlinuz
