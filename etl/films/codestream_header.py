"""What the header of a compressed image says of its size, read before any decoder allocates."""

from __future__ import annotations

from dataclasses import dataclass

# Start-of-frame markers (ITU-T T.81 B.1.1.3; JPEG-LS: ITU-T T.87 C.1.1); C4, C8 and CC are others.
START_OF_FRAME = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
START_OF_SCAN = 0xDA
WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})


@dataclass(frozen=True, kw_only=True)
class CodestreamHeader:
    """Frame header of a JPEG, JPEG-LS or JPEG 2000 codestream.

    Attributes:
        rows_px: Rows.
        columns_px: Columns.
        n_components: Samples per pixel.
        precision: Bits of a sample.
        is_signed: Whether samples are signed (JPEG 2000 alone can say so).
        is_reversible: JPEG 2000: the 5/3 wavelet, otherwise the 9/7.
        n_decompositions: JPEG 2000: how often the resolution was halved; 0 where the grid is
            displaced or a tile's size is odd at some level, so that no halving can be used.
    """

    rows_px: int
    columns_px: int
    n_components: int
    precision: int
    is_signed: bool = False
    is_reversible: bool = True
    n_decompositions: int = 0


def jpeg_header(content: bytes) -> CodestreamHeader | None:
    """Frame header of a JPEG or JPEG-LS codestream; None where there is none."""
    if not content.startswith(b"\xff\xd8"):
        return None
    place = 2
    while place + 4 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker == 0xFF or marker in WITHOUT_LENGTH:
            place += 1 if marker == 0xFF else 2
            continue
        if marker in START_OF_FRAME and place + 10 <= len(content):
            return CodestreamHeader(
                precision=content[place + 4],
                rows_px=word(content, place + 5),
                columns_px=word(content, place + 7),
                n_components=content[place + 9],
            )
        if marker == START_OF_SCAN:
            return None
        place += 2 + word(content, place + 2)
    return None


def jpeg_2000_header(content: bytes) -> CodestreamHeader | None:
    """Header of a JPEG 2000 codestream, in a JP2 file or bare (ITU-T T.800 A.5.1, A.6.1)."""
    start = content.find(b"\xff\x4f\xff\x51")
    if start < 0 or start + 45 > len(content):
        return None
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top = (
        int.from_bytes(content[start + 8 + 4 * index : start + 12 + 4 * index], "big")
        for index in range(8)
    )
    depth = content[start + 42]
    coding = _find_coding_style(content, start + 4 + word(content, start + 4))
    n_decompositions, is_reversible = (0, True) if coding is None else coding
    if left or top or tile_left or tile_top:
        n_decompositions = 0
    for tile, side in ((tile_width, right), (tile_height, bottom)):
        while tile < side and n_decompositions and tile % 2**n_decompositions:
            n_decompositions -= 1
    return CodestreamHeader(
        rows_px=bottom - top,
        columns_px=right - left,
        n_components=word(content, start + 40),
        precision=(depth & 0x7F) + 1,
        is_signed=bool(depth & 0x80),
        is_reversible=is_reversible,
        n_decompositions=n_decompositions,
    )


def _find_coding_style(content: bytes, place: int) -> tuple[int, bool] | None:
    """Decomposition levels of the COD segment, and whether its wavelet is the 5/3."""
    while place + 14 <= len(content) and content[place] == 0xFF and content[place + 1] != 0x90:
        if content[place + 1] == 0x52:
            return content[place + 9], content[place + 13] == 1
        place += 2 + word(content, place + 2)
    return None


def word(content: bytes, place: int) -> int:
    """Two bytes as a number."""
    return int.from_bytes(content[place : place + 2], "big")
