"""Files that are no good: seeded, and as many of them as one asks for."""

import random

CSV = b"time,y,x\n" + b"".join(b"2024-01-%02d,%d,%d\n" % (day, 3 * day, day % 5) for day in range(1, 32))
WORDS = b"the cat sat on the mat and the dog sat on the rug\n" * 30
CLASSES = b"text,class\n" + b"".join(b"word%d,%s\n" % (i, b"ab"[i % 2 : i % 2 + 1]) for i in range(40))
LINES = b"".join(b'{"inputs": [[0.1], [0.2], [%d]]}\n' % i for i in range(5))
TS = b"@problemName a\n@classLabel true a b\n@data\n" + b"".join(
    b"%d,2,3,4:%s\n" % (i, b"ab"[i % 2 : i % 2 + 1]) for i in range(20)
)
PIECES = [
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\r\n", b"\n\n\n", b'"', b'""', b",", b";", b"\t",
    b",,,,,,", b"nan", b"inf",
    b"-inf", b"1e400", b"NA", b"null", b"\xed\xa0\x80", b"\xe2\x80\xae", b"=1+1", b"\x1b[31m", b"9" * 400,
    b"x" * 70_000,
    b"[" * 5_000, b'{"a":' * 5_000, b"PAR1", b"PK\x03\x04", b"0x10", b"1_000", b"1,5", b"31.12.99",
    b"2924-01-01", b"@data\n",
    b"a:b:c", b"(1,2)", b"?", "é".encode("latin-1"), "é".encode(), b"{}", b"[]", b"[[]]", b'{"inputs": 3}', b"true",
]  # fmt: skip


def spoilt(content: bytes, rng: random.Random) -> bytes:
    """A file of which one to four places are changed."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        kind, at = rng.random(), rng.randrange(len(content) + 1)
        piece = rng.choice(PIECES)
        if kind < 0.45:
            content = content[:at] + piece + content[at:]
        elif kind < 0.6:
            content = content[:at]
        elif kind < 0.7:
            content = content[at:]
        elif kind < 0.8:
            content = content.replace(b"\n", rng.choice([b"\r", b"\r\n", b"\n\n", b" "]))
        elif kind < 0.9:
            content = content.replace(rng.choice([b",", b"0", b"a", b"y"]), piece[:20])
        else:
            content = rng.choice(
                [b"", b"\n", piece, piece * 3, bytes(rng.randrange(256) for _ in range(200)), content * 2]
            )
    return content
