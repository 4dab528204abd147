"""How large the details in a JPEG 2000 codestream can be, read from its packet headers alone.

A packet header says of each code-block how many of its bit planes are empty (ITU-T T.800 B.10.5),
which bounds every wavelet coefficient in it. Nothing is decoded for that: the headers are a
thousandth of the codestream.

Read are codestreams as archives write them: one component, one tile, any precincts and layers. Of
others nothing is said, and they are decoded whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etl.films.codestream_header import word

COD, QCD, SOT, SOD = 0xFF52, 0xFF5C, 0xFF90, 0xFF93
# Markers that change nothing here: component registration, tile and packet lengths, comments.
HARMLESS = frozenset({0xFF51, 0xFF63, 0xFF55, 0xFF57, 0xFF58, 0xFF64, COD, QCD})
SOP, EPH = b"\xff\x91", b"\xff\x92"
# Code-block styles that cut a block's data into several lengths: bypass, termination on each pass,
# predictable termination; and high throughput, whose empty bit planes say nothing of magnitudes.
CUT_STYLES = 0x01 | 0x04 | 0x10 | 0x40
LRCP, RLCP, RPCL = 0, 1, 2
# Sub-bands of a resolution in the order of its packets, with their nominal gain in bits (E.1).
BANDS = ((1, 0, 1), (0, 1, 1), (1, 1, 2))


class _UnreadableError(Exception):
    """The codestream is damaged, or written in a way that is not read here."""


@dataclass(frozen=True, kw_only=True)
class DetailLevel:
    """Bounds of the details that one halving of the resolution leaves out.

    Attributes:
        block_px: Rows and columns of source pixels that a code-block stands for.
        bounds: (block rows, block columns) float64; no coefficient of the three sub-bands has this
            magnitude, in stored values.
    """

    block_px: tuple[int, int]
    bounds: NDArray[np.float64]


def detail_levels(content: bytes, n_levels: int) -> list[DetailLevel] | None:
    """Bounds of the finest details.

    Args:
        content: JPEG 2000 codestream, bare or in a JP2 file.
        n_levels: How many halvings.

    Returns:
        One for each halving, the finest first; None where the codestream is not of the kind read.
    """
    try:
        return _Codestream(content).levels(n_levels)
    except (_UnreadableError, IndexError, ValueError):
        return None


@dataclass(kw_only=True)
class _Band:
    """A sub-band in one precinct: its code-blocks and what packets have said of them."""

    first_block: tuple[int, int]
    n_rows: int
    n_columns: int
    n_bit_planes: int
    step: float
    inclusion: _TagTree = field(init=False)
    empty_planes: _TagTree = field(init=False)
    length_bits: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.inclusion = _TagTree(self.n_rows, self.n_columns)
        self.empty_planes = _TagTree(self.n_rows, self.n_columns)
        self.planes = [0] * (self.n_rows * self.n_columns)

    def bounds(self) -> NDArray[np.float64]:
        planes = np.array(self.planes, dtype=np.float64).reshape(self.n_rows, self.n_columns)
        return np.where(planes > 0, 2.0**planes * self.step, 0.0)


@dataclass(kw_only=True)
class _Resolution:
    """A resolution's precincts, each with its sub-bands; block is (rows, columns) of samples."""

    block: tuple[int, int]
    precincts: list[list[_Band]]

    def detail_level(self, level: int) -> DetailLevel:
        """Bounds over all precincts and sub-bands; level 1 is the finest."""
        bands = [band for precinct in self.precincts for band in precinct]
        ends = [
            (band.first_block[0] + band.n_rows, band.first_block[1] + band.n_columns)
            for band in bands
        ]
        bounds = np.zeros(np.max(ends, axis=0))
        for band, (bottom, right) in zip(bands, ends, strict=True):
            inner = bounds[band.first_block[0] : bottom, band.first_block[1] : right]
            np.maximum(inner, band.bounds(), out=inner)
        return DetailLevel(block_px=(self.block[0] << level, self.block[1] << level), bounds=bounds)


class _Codestream:
    """Main header and the packets of the only tile."""

    def __init__(self, content: bytes) -> None:
        start = content.find(b"\xff\x4f\xff\x51")
        if start < 0:
            raise _UnreadableError
        self._content = content
        segments, place = self._segments(start + 2)
        size, coding, quantization = (segments.get(each) for each in (0xFF51, COD, QCD))
        if size is None or coding is None or quantization is None:
            raise _UnreadableError
        fields = [int.from_bytes(size[2 + 4 * n : 6 + 4 * n], "big") for n in range(8)]
        right, bottom, left, top, tile_width, tile_height, tile_left, tile_top = fields
        if left or top or tile_left or tile_top or tile_width < right or tile_height < bottom:
            raise _UnreadableError
        if int.from_bytes(size[34:36], "big") != 1:
            raise _UnreadableError
        self._shape = (bottom, right)
        self._precision = (size[36] & 0x7F) + 1
        self._read_coding(coding)
        self._quantization = quantization
        self._packets = self._body(place)

    def levels(self, n_levels: int) -> list[DetailLevel]:
        """Read every packet, then the bounds of the finest levels."""
        resolutions = [self._resolution(each) for each in range(self._n_decompositions + 1)]
        place = 0
        for number, precinct, layer in self._order([len(each.precincts) for each in resolutions]):
            place = self._read_packet(place, resolutions[number].precincts[precinct], layer)
        return [resolutions[-level].detail_level(level) for level in range(1, n_levels + 1)]

    def _order(self, n_precincts: list[int]) -> list[tuple[int, int, int]]:
        """Resolution, precinct and layer of the packets, in their order (B.12.1)."""
        triples = [
            (resolution, precinct, layer)
            for resolution, n in enumerate(n_precincts)
            for precinct in range(n)
            for layer in range(self._n_layers)
        ]
        if self._progression == LRCP:
            return sorted(triples, key=lambda each: (each[2], each[0], each[1]))
        if self._progression == RLCP:
            return sorted(triples, key=lambda each: (each[0], each[2], each[1]))
        if self._progression != RPCL and max(n_precincts) > 1:
            raise _UnreadableError
        return triples

    def _segments(self, place: int) -> tuple[dict[int, bytes], int]:
        """Marker segments of the main header, and where the first tile-part begins."""
        segments: dict[int, bytes] = {}
        while (marker := word(self._content, place)) != SOT:
            if marker not in HARMLESS:
                raise _UnreadableError
            length = word(self._content, place + 2)
            segments[marker] = self._content[place + 4 : place + 2 + length]
            place += 2 + length
        return segments, place

    def _read_coding(self, coding: bytes) -> None:
        """The COD segment (A.6.1)."""
        style, self._n_layers, self._n_decompositions = coding[0], word(coding, 2), coding[5]
        self._progression = coding[1]
        self._has_sop, self._has_eph = bool(style & 2), bool(style & 4)
        if coding[8] & CUT_STYLES or self._n_decompositions > 32:
            raise _UnreadableError
        self._block_bits = (coding[7] + 2, coding[6] + 2)
        n_resolutions = self._n_decompositions + 1
        sizes = coding[10 : 10 + n_resolutions] if style & 1 else b"\xff" * n_resolutions
        self._precinct_bits = [(size >> 4, size & 15) for size in sizes]

    def _body(self, place: int) -> bytes:
        """Packets of all tile-parts of the tile."""
        parts = []
        while word(self._content, place) == SOT:
            length = int.from_bytes(self._content[place + 6 : place + 10], "big")
            end = place + length if length else len(self._content)
            place += 12
            while (marker := word(self._content, place)) != SOD:
                if marker not in HARMLESS - {COD, QCD}:
                    raise _UnreadableError
                place += 2 + word(self._content, place + 2)
            parts.append(self._content[place + 2 : end])
            place = end
        return b"".join(parts)

    def _resolution(self, number: int) -> _Resolution:
        """Precincts of a resolution, their sub-bands and code-blocks (B.6, B.7)."""
        level = self._n_decompositions - number + (number > 0)
        halved = int(number > 0)
        sides = [-(-side >> (self._n_decompositions - number)) for side in self._shape]
        precinct_bits = self._precinct_bits[number]
        if min(precinct_bits) < halved:
            raise _UnreadableError
        # A precinct spans half as many samples of each sub-band as of its resolution.
        spans = [1 << (bits - halved) for bits in precinct_bits]
        block = [min(1 << bits, span) for bits, span in zip(self._block_bits, spans, strict=True)]
        n_precincts = [-(-side >> bits) for side, bits in zip(sides, precinct_bits, strict=True)]
        bands = []
        for index, (across, down, gain) in enumerate(BANDS if number else ((0, 0, 0),)):
            shape = [
                max(-(-(side - (is_high << level >> 1)) >> level), 0)
                for side, is_high in zip(self._shape, (down, across), strict=True)
            ]
            place = 3 * (number - 1) + 1 + index if number else 0
            bands.append((shape, *self._quantizer(place, level, gain)))
        precincts = []
        for row, column in np.ndindex(*n_precincts):
            corner = (row * spans[0], column * spans[1])
            precincts.append(
                [
                    _Band(
                        first_block=(corner[0] // block[0], corner[1] // block[1]),
                        n_rows=_n_blocks(shape[0], corner[0], spans[0], block[0]),
                        n_columns=_n_blocks(shape[1], corner[1], spans[1], block[1]),
                        n_bit_planes=n_planes,
                        step=step,
                    )
                    for shape, n_planes, step in bands
                ]
            )
        return _Resolution(block=(block[0], block[1]), precincts=precincts)

    def _quantizer(self, index: int, level: int, gain: int) -> tuple[int, float]:
        """Bit planes of a sub-band, and the step between two values (equations E-2 to E-5)."""
        style, guard = self._quantization[0] & 31, self._quantization[0] >> 5
        if style == 0:
            return guard + (self._quantization[1 + index] >> 3) - 1, 1.0
        coded = word(self._quantization, 1 if style == 1 else 1 + 2 * index)
        exponent = coded >> 11
        if style == 1:
            exponent += level - self._n_decompositions
        step = 2.0 ** (self._precision + gain - exponent) * (1 + (coded & 0x7FF) / 2048)
        return guard + exponent - 1, step

    def _read_packet(self, place: int, bands: list[_Band], layer: int) -> int:
        """One packet; returns where the next begins."""
        packets = self._packets
        if self._has_sop and packets[place : place + 2] == SOP:
            place += 6
        n_blocks = sum(len(band.planes) for band in bands)
        bits = _Bits(packets[place : place + 64 + 8 * n_blocks])
        n_bytes = 0
        if bits.read(1):
            for band in bands:
                for block in range(len(band.planes)):
                    n_bytes += _read_block(bits, band, block, layer)
        place += bits.n_bytes()
        if self._has_eph and packets[place : place + 2] == EPH:
            place += 2
        place += n_bytes
        if place > len(packets):
            raise _UnreadableError
        return place


def _n_blocks(side: int, corner: int, span: int, block: int) -> int:
    """Code-blocks along one side of a sub-band in a precinct."""
    return -(-max(min(side - corner, span), 0) // block)


def _read_block(bits: _Bits, band: _Band, block: int, layer: int) -> int:
    """What a packet header says of one code-block; returns how many bytes of it follow."""
    if block in band.length_bits:
        if not bits.read(1):
            return 0
    else:
        if not band.inclusion.is_below(bits, block, layer + 1):
            return 0
        band.planes[block] = band.n_bit_planes - band.empty_planes.value(bits, block)
        band.length_bits[block] = 3
    n_passes = _read_passes(bits)
    band.length_bits[block] += bits.run("0")
    return bits.read(band.length_bits[block] + n_passes.bit_length() - 1)


def _read_passes(bits: _Bits) -> int:
    """Number of coding passes (table B.4)."""
    if not bits.read(1):
        return 1
    if not bits.read(1):
        return 2
    for n_bits, first in ((2, 3), (5, 6), (7, 37)):
        number = bits.read(n_bits)
        if number < 2**n_bits - 1:
            return first + number
    raise _UnreadableError


class _Bits:
    """Bits of a packet header; the byte after FF holds seven (B.10.1)."""

    def __init__(self, content: bytes) -> None:
        octets = np.frombuffer(content, dtype=np.uint8)
        is_bit = np.ones((len(octets), 8), dtype=np.bool_)
        is_bit[1:, 0] = octets[:-1] != 0xFF
        self._octets = octets
        self._places = np.flatnonzero(is_bit)
        self._text = (np.unpackbits(octets)[self._places] + ord("0")).tobytes().decode("ascii")
        self._next = 0

    def read(self, n_bits: int) -> int:
        """A number of some bits, the highest first."""
        start, self._next = self._next, self._next + n_bits
        if self._next > len(self._text):
            raise _UnreadableError
        return int(self._text[start : self._next], 2) if n_bits else 0

    def run(self, end: str) -> int:
        """How many bits come before the next that is ``end``."""
        start = self._next
        self._next = self._text.index(end, start) + 1
        return self._next - start - 1

    def n_bytes(self) -> int:
        """Bytes read from; after an FF at the end comes one that stands for nothing."""
        last = int(self._places[self._next - 1]) // 8
        return last + 1 + int(self._octets[last] == 0xFF)


class _TagTree:
    """Tag tree over a grid of code-blocks (B.10.2)."""

    def __init__(self, n_rows: int, n_columns: int) -> None:
        self._parents: list[int] = []
        offset, rows, columns = 0, n_rows, n_columns
        while rows * columns > 1:
            above = offset + rows * columns
            wide = -(-columns // 2)
            self._parents += [
                above + row // 2 * wide + column // 2
                for row in range(rows)
                for column in range(columns)
            ]
            offset, rows, columns = above, -(-rows // 2), wide
        self._parents.append(-1)
        self._lowest = [0] * len(self._parents)
        self._is_known = [False] * len(self._parents)

    def value(self, bits: _Bits, leaf: int) -> int:
        """The value of a leaf."""
        for node, lowest in self._path(leaf):
            self._lowest[node] = lowest + bits.run("1")
            self._is_known[node] = True
        return self._lowest[leaf]

    def is_below(self, bits: _Bits, leaf: int, threshold: int) -> bool:
        """Whether the value of a leaf is below a threshold."""
        for node, start in self._path(leaf):
            lowest = start
            while lowest < threshold and not self._is_known[node]:
                if bits.read(1):
                    self._is_known[node] = True
                else:
                    lowest += 1
            self._lowest[node] = lowest
        return self._is_known[leaf] and self._lowest[leaf] < threshold

    def _path(self, leaf: int) -> Any:
        """Nodes from the first unknown one down to the leaf, with what their parents leave them."""
        nodes = []
        node = leaf
        while node >= 0 and not self._is_known[node]:
            nodes.append(node)
            node = self._parents[node]
        for each in reversed(nodes):
            parent = self._parents[each]
            above = self._lowest[parent] if parent >= 0 else 0
            yield each, max(self._lowest[each], above)
