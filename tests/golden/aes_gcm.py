# SPDX-License-Identifier: GPL-2.0-only
"""AES-256-GCM (FIPS 197, SP 800-38D) and HKDF-SHA256 (RFC 5869), for the second reader.

Written from those documents, so that it shares no library with what it checks."""

import hashlib
import hmac


def hkdf(key, salt, info, size):
    secret = hmac.new(salt or bytes(32), key, hashlib.sha256).digest()
    out = block = b''
    while len(out) < size:
        block = hmac.new(secret, block + info + bytes([len(out) // 32 + 1]), hashlib.sha256).digest()
        out += block
    return out[:size]


def double(x):
    """Times x in GF(2^8)."""
    return x << 1 ^ (0x11b if x & 0x80 else 0)


def make_sbox():
    sbox, p, q = [0x63] * 256, 1, 1
    while True:
        p ^= double(p)          # times 3
        q ^= q << 1             # divided by 3: its inverse
        q ^= q << 2
        q ^= q << 4
        q &= 0xff
        if q & 0x80:
            q ^= 0x09
        x = q ^ q << 1 ^ q << 2 ^ q << 3 ^ q << 4
        sbox[p] = (x ^ x >> 8) & 0xff ^ 0x63
        if p == 1:
            return sbox


SBOX = make_sbox()
# SubBytes and MixColumns of one byte, as a column; the other rows are this turned.
MIX = [double(s) << 24 | s << 16 | s << 8 | double(s) ^ s for s in SBOX]
TABLES = [[m >> 8 * r | m << (32 - 8 * r) & 0xffffffff for m in MIX] for r in range(4)]


def sub_word(w):
    return SBOX[w >> 24] << 24 | SBOX[w >> 16 & 255] << 16 | SBOX[w >> 8 & 255] << 8 | SBOX[w & 255]


class Gcm:
    def __init__(self, key):
        words = [int.from_bytes(key[i:i + 4], 'big') for i in range(0, 32, 4)]
        power = 1
        for i in range(8, 60):
            w = words[-1]
            if i % 8 == 0:
                w = sub_word((w << 8 | w >> 24) & 0xffffffff) ^ power << 24
                power = double(power)
            elif i % 8 == 4:
                w = sub_word(w)
            words.append(words[i - 8] ^ w)
        self.words = words
        # H times each value of the 4 bits at each place.
        h = int.from_bytes(self.block(0), 'big')
        powers = []
        for _ in range(128):
            powers.append(h)
            h = h >> 1 ^ (0xe1 << 120 if h & 1 else 0)
        self.products = [[self.sum(powers, place, bits) for bits in range(256)]
                         for place in range(16)]

    @staticmethod
    def sum(powers, place, bits):
        total = 0
        for i in range(8):
            if bits >> (7 - i) & 1:
                total ^= powers[8 * place + i]
        return total

    def block(self, value):
        """Encrypt one block, given and taken as a number."""
        w, (t0, t1, t2, t3) = self.words, TABLES
        a, b, c, d = (value >> 96 - 32 * i & 0xffffffff ^ w[i] for i in range(4))
        for r in range(4, 56, 4):
            a, b, c, d = (
                t0[a >> 24] ^ t1[b >> 16 & 255] ^ t2[c >> 8 & 255] ^ t3[d & 255] ^ w[r],
                t0[b >> 24] ^ t1[c >> 16 & 255] ^ t2[d >> 8 & 255] ^ t3[a & 255] ^ w[r + 1],
                t0[c >> 24] ^ t1[d >> 16 & 255] ^ t2[a >> 8 & 255] ^ t3[b & 255] ^ w[r + 2],
                t0[d >> 24] ^ t1[a >> 16 & 255] ^ t2[b >> 8 & 255] ^ t3[c & 255] ^ w[r + 3])
        out = b''
        for i, (p, q, r, s) in enumerate(((a, b, c, d), (b, c, d, a), (c, d, a, b), (d, a, b, c))):
            word = SBOX[p >> 24] << 24 | SBOX[q >> 16 & 255] << 16 | SBOX[r >> 8 & 255] << 8 | \
                SBOX[s & 255]
            out += (word ^ w[56 + i]).to_bytes(4, 'big')
        return out

    def ghash(self, clear, text):
        y = 0
        sizes = (8 * len(clear)).to_bytes(8, 'big') + (8 * len(text)).to_bytes(8, 'big')
        for part in (clear, text, sizes):
            for i in range(0, len(part), 16):
                y ^= int.from_bytes(part[i:i + 16].ljust(16, b'\0'), 'big')
                total = 0
                for place, byte in enumerate(y.to_bytes(16, 'big')):
                    total ^= self.products[place][byte]
                y = total
        return y.to_bytes(16, 'big')

    def decrypt(self, nonce, clear, text, tag):
        """The plain text, or None: it is not what was encrypted."""
        counter = int.from_bytes(nonce, 'big') << 32
        mask = self.block(counter | 1)
        if bytes(x ^ y for x, y in zip(self.ghash(clear, text), mask)) != tag:
            return None
        stream = b''.join(self.block(counter | 2 + i) for i in range((len(text) + 15) // 16))
        return bytes(x ^ y for x, y in zip(text, stream))
