"""Parts of a JPEG 2000 image at full resolution, through the OpenJPEG library that Pillow brings.

No package offers OpenJPEG's decoding of an area for data in memory, so its C interface is called.
Code-blocks that an area does not touch are not decoded, and those that were are kept.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from contextlib import suppress
from functools import cache
from importlib import metadata
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

CODESTREAM, CODESTREAM_IN_JP2 = 0, 2
# opj_dparameters_t takes about 8 KB; its defaults are the library's own to fill in.
PARAMETER_BYTES = 1 << 16
CHUNK_BYTES = 1 << 20
END = ctypes.c_size_t(-1).value
Area = tuple[int, int, int, int]


class AreaDecodingError(Exception):
    """The codestream is damaged where an area was asked for."""


class _Component(ctypes.Structure):
    """opj_image_comp_t, version 2."""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("dx", "dy", "w", "h", "x0", "y0", "prec", "bpp")),
        *((name, ctypes.c_uint32) for name in ("sgnd", "resno_decoded", "factor")),
        ("data", ctypes.POINTER(ctypes.c_int32)),
        ("alpha", ctypes.c_uint16),
    )


class _Image(ctypes.Structure):
    """opj_image_t, version 2."""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("x0", "y0", "x1", "y1", "numcomps")),
        ("color_space", ctypes.c_int),
        ("comps", ctypes.POINTER(_Component)),
        ("icc_profile_buf", ctypes.c_void_p),
        ("icc_profile_len", ctypes.c_uint32),
    )


_Read = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
_Skip = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
_Seek = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int64, ctypes.c_void_p)
_P, _IMAGE = ctypes.c_void_p, ctypes.POINTER(_Image)
SIGNATURES = {
    "opj_version": ((), ctypes.c_char_p),
    "opj_create_decompress": ((ctypes.c_int,), _P),
    "opj_set_default_decoder_parameters": ((_P,), None),
    "opj_setup_decoder": ((_P, _P), ctypes.c_int),
    "opj_stream_create": ((ctypes.c_size_t, ctypes.c_int), _P),
    "opj_stream_set_read_function": ((_P, _Read), None),
    "opj_stream_set_skip_function": ((_P, _Skip), None),
    "opj_stream_set_seek_function": ((_P, _Seek), None),
    "opj_stream_set_user_data_length": ((_P, ctypes.c_uint64), None),
    "opj_read_header": ((_P, _P, ctypes.POINTER(_IMAGE)), ctypes.c_int),
    "opj_set_decode_area": ((_P, _IMAGE, *[ctypes.c_int32] * 4), ctypes.c_int),
    "opj_decode": ((_P, _P, _IMAGE), ctypes.c_int),
    "opj_image_destroy": ((_IMAGE,), None),
    "opj_stream_destroy": ((_P,), None),
    "opj_destroy_codec": ((_P,), None),
}


@cache
def openjpeg() -> ctypes.CDLL | None:
    """OpenJPEG 2.3 or newer: Pillow's own copy, else the system's; None where there is none."""
    names = [
        str(file.locate()) for file in metadata.files("pillow") or () if "openjp2" in str(file)
    ]
    for name in (*names, ctypes.util.find_library("openjp2")):
        with suppress(OSError, AttributeError, TypeError, ValueError):
            library = ctypes.CDLL(name)
            for function, (arguments, result) in SIGNATURES.items():
                getattr(library, function).argtypes = arguments
                getattr(library, function).restype = result
            major, minor = map(int, library.opj_version().split(b".")[:2])
            if major == 2 and minor >= 3:
                return library
    return None


class AreaDecoder:
    """Decodes areas of one image of a single component and tile; a context manager.

    Args:
        content: JPEG 2000 codestream, bare or in a JP2 file.

    Raises:
        AreaDecodingError: Its header cannot be read.
    """

    def __init__(self, content: bytes) -> None:
        library = openjpeg()
        assert library is not None, "asked for before"
        self._library = library
        self._content, self._place = content, 0
        # The library calls these as long as the stream lives.
        self._calls = (_Read(self._read), _Skip(self._skip), _Seek(self._seek))
        self._image = _IMAGE()
        is_bare = content.startswith(b"\xff\x4f\xff\x51")
        self._codec = library.opj_create_decompress(CODESTREAM if is_bare else CODESTREAM_IN_JP2)
        self._stream = library.opj_stream_create(CHUNK_BYTES, 1)
        library.opj_stream_set_read_function(self._stream, self._calls[0])
        library.opj_stream_set_skip_function(self._stream, self._calls[1])
        library.opj_stream_set_seek_function(self._stream, self._calls[2])
        library.opj_stream_set_user_data_length(self._stream, len(content))
        parameters = ctypes.create_string_buffer(PARAMETER_BYTES)
        library.opj_set_default_decoder_parameters(parameters)
        if not (
            library.opj_setup_decoder(self._codec, parameters)
            and library.opj_read_header(self._stream, self._codec, ctypes.byref(self._image))
            and self._image.contents.numcomps == 1
        ):
            self.close()
            raise AreaDecodingError

    def __enter__(self) -> AreaDecoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def area(self, area: Area) -> NDArray[np.int32]:
        """Samples of the rows and columns (top, bottom, left, right), as the codestream has them.

        Raises:
            AreaDecodingError: The data are damaged there.
        """
        top, bottom, left, right = area
        image = self._image
        is_decoded = self._library.opj_set_decode_area(
            self._codec, image, left, top, right, bottom
        ) and self._library.opj_decode(self._codec, self._stream, image)
        found = image.contents.comps[0]
        if not is_decoded or not found.data or (found.h, found.w) != (bottom - top, right - left):
            raise AreaDecodingError
        samples = np.ctypeslib.as_array(found.data, (found.h, found.w))
        return np.array(samples, dtype=np.int32)

    def close(self) -> None:
        """Give the library's memory back."""
        if self._image:
            self._library.opj_image_destroy(self._image)
            self._image = _IMAGE()
        if self._stream:
            self._library.opj_stream_destroy(self._stream)
            self._library.opj_destroy_codec(self._codec)
            self._stream = self._codec = None

    def _read(self, buffer: int, n_bytes: int, _: object) -> int:
        piece = self._content[self._place : self._place + n_bytes]
        if not piece:
            return END
        ctypes.memmove(buffer, piece, len(piece))
        self._place += len(piece)
        return len(piece)

    def _skip(self, n_bytes: int, _: object) -> int:
        self._place += n_bytes
        return n_bytes

    def _seek(self, place: int, _: object) -> int:
        self._place = place
        return 1
