"""DICOM files damaged at random: each number gives one file, always the same."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import pydicom.uid as uids
from unit.etl.compressed_twins import BASELINE, LOSSLESS, LOSSY
from unit.etl.conftest import anatomy, film_dataset

# Elements whose values steer decoding: tag, little endian, and length of the value that follows
# in explicit VR.
STEERING_TAGS = (
    b"\x28\x00\x02\x00", b"\x28\x00\x04\x00", b"\x28\x00\x08\x00", b"\x28\x00\x10\x00",
    b"\x28\x00\x11\x00", b"\x28\x00\x00\x01", b"\x28\x00\x01\x01", b"\x28\x00\x02\x01",
    b"\x28\x00\x03\x01", b"\x28\x00\x50\x10", b"\x28\x00\x51\x10", b"\x28\x00\x10\x30",
    b"\xe0\x7f\x10\x00", b"\x02\x00\x10\x00", b"\x08\x00\x05\x00",
)  # fmt: skip
EXTREMES = (b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\xff\xff\x00\x00", b"\x00\x00\xff\x7f",
            b"\x01\x00\x00\x00")  # fmt: skip


def corpus(real_folder: Path | None) -> list[bytes]:
    """Small films in every transfer syntax, and the real files where there are any."""
    files = []
    for twin in (*LOSSLESS, *LOSSY, BASELINE):
        image = anatomy(bits=8 if twin is BASELINE else 12)
        files.append(_saved(twin.of(film_dataset(image, **_tags(len(files))), image)))
    for syntax in (uids.ImplicitVRLittleEndian, uids.ExplicitVRLittleEndian,
                   uids.DeflatedExplicitVRLittleEndian):  # fmt: skip
        dataset = film_dataset(anatomy(), **_tags(len(files)))
        dataset.file_meta.TransferSyntaxUID = syntax
        files.append(_saved(dataset))
    paths = sorted(real_folder.rglob("*.dcm")) if real_folder else []
    real = [path.read_bytes() for path in paths if path.stat().st_size < 2**20]
    # Named a CR film, a real file of another modality gets as far as its decoder.
    return 2 * files + [
        content[: place + 8] + b"CR" + content[place + 10 :]
        if (place := content.find(b"\x08\x00\x60\x00CS\x02\x00")) > 0
        else content
        for content in real
    ]


def mutated(files: Sequence[bytes], number: int) -> tuple[bytes, bytes | None]:
    """File ``number``: one of the corpus with one to four kinds of damage, or none.

    Returns:
        The file, and the file of the corpus that it is but for its UID where it has no damage.
    """
    chance = random.Random(number)
    original = files[chance.randrange(len(files))]
    content = _renamed(original, number)
    damages = (_flip, _cut, _repeat, _remove, _overwrite, _steer, _steer, _lengthen)
    n_damages = chance.choice((0, 1, 1, 1, 2, 4))
    for _ in range(n_damages):
        content = chance.choice(damages)(content, chance) or b"\0"
    return content, None if n_damages else original


def _tags(number: int) -> dict[str, object]:
    """Some films have a view and body part, some a window or tables."""
    tags: dict[str, object] = {"WindowCenter": 2048, "WindowWidth": 4096}
    if number % 3 == 1:
        tags |= {"ViewPosition": None, "BodyPartExamined": None}
    if number % 4 == 2:
        tags |= {"RescaleSlope": "2", "RescaleIntercept": "-1024", "PixelPaddingValue": 0}
    return tags


def _saved(dataset: object) -> bytes:
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)  # type: ignore[attr-defined]
    return file.getvalue()


def _renamed(content: bytes, number: int) -> bytes:
    """Another SOP Instance UID of the same length, where the file shows it."""
    place = content.find(b"\x08\x00\x18\x00UI")
    if place < 0:
        return content
    length = int.from_bytes(content[place + 6 : place + 8], "little")
    uid = content[place + 8 : place + 8 + length]
    digits = f"{number:09d}".encode()
    return content.replace(uid, uid[: length // 2] + digits + uid[length // 2 + 9 :])


def _place(content: bytes, chance: random.Random) -> int:
    """More often in the header than in the pixels."""
    end = len(content) if chance.random() < 0.4 else min(len(content), 2000)
    return chance.randrange(max(end, 1))


def _flip(content: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(chance.choice((1, 3, 30))):
        if damaged:
            damaged[_place(content, chance) % len(damaged)] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: _place(content, chance)]


def _repeat(content: bytes, chance: random.Random) -> bytes:
    start, n_bytes = _place(content, chance), chance.choice((2, 8, 100, 5000))
    return content[: start + n_bytes] + content[start:]


def _remove(content: bytes, chance: random.Random) -> bytes:
    start, n_bytes = _place(content, chance), chance.choice((1, 2, 8, 100, 5000))
    return content[:start] + content[start + n_bytes :]


def _overwrite(content: bytes, chance: random.Random) -> bytes:
    start, n_bytes = _place(content, chance), chance.choice((1, 4, 64, 1000))
    noise = chance.choice((bytes(n_bytes), b"\xff" * n_bytes, chance.randbytes(n_bytes)))
    return content[:start] + noise + content[start + n_bytes :]


def _steer(content: bytes, chance: random.Random) -> bytes:
    """Another value for Rows, Bits Stored, the transfer syntax ..."""
    tag = chance.choice(STEERING_TAGS)
    place = content.find(tag)
    if place < 0:
        return content
    start = place + chance.choice((4, 6, 8, 8, 8, 12))
    value = chance.choice((*EXTREMES, chance.randbytes(4)))[: chance.choice((1, 2, 4))]
    return content[:start] + value + content[start + len(value) :]


def _lengthen(content: bytes, chance: random.Random) -> bytes:
    """A lot of zeros behind the file, or deflated behind its header."""
    if chance.random() < 0.5:
        return content + bytes(chance.choice((1, 1000, 10**6)))
    deflater = zlib.compressobj(wbits=-15)
    return content[:500] + deflater.compress(bytes(10**7)) + deflater.flush()
