"""Every transfer syntax gives the values of its uncompressed twin; damage is named, not decoded."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pydicom.uid as uids
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from unit.etl.compressed_twins import BASELINE, LOSSLESS, LOSSY, Twin
from unit.etl.conftest import anatomy

from etl.films.dicom_header import UnusableFileError, open_dataset
from etl.films.film_pixels import PERCENTILES, decode_film, square_film
from etl.films.stored_pixels import read_stored_pixels

MakeFilm = Callable[..., Dataset]
SHARED = Path(os.environ.get("RIBLINE_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))


def saved(dataset: Dataset) -> bytes:
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


@pytest.mark.parametrize("twin", LOSSLESS, ids=lambda twin: twin.name)
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_lossless_forms_equal_their_uncompressed_twin(
    make_film: MakeFilm, twin: Twin, bits: int
) -> None:
    image = anatomy(bits=bits)
    tags = {"BitsStored": bits, "HighBit": bits - 1, "WindowCenter": 2 ** (bits - 1),
            "WindowWidth": 2**bits}  # fmt: skip
    plain = open_dataset(saved(make_film(image, **tags)))
    compressed = open_dataset(saved(twin.of(make_film(image, **tags), image)))
    assert compressed.file_meta.TransferSyntaxUID == twin.syntax
    assert np.array_equal(read_stored_pixels(compressed).array(), image)
    films = [square_film(decode_film(each), 64)[0] for each in (plain, compressed)]
    assert np.array_equal(*films)


@pytest.mark.parametrize("twin", [*LOSSY, BASELINE], ids=lambda twin: twin.name)
def test_lossy_forms_keep_their_bound(make_film: MakeFilm, twin: Twin) -> None:
    bits = 8 if twin is BASELINE else 12
    image = anatomy(bits=bits)
    compressed = open_dataset(saved(twin.of(make_film(image), image)))
    values = read_stored_pixels(compressed).array()
    assert 0 < np.abs(values - image.astype(int)).max() <= twin.bound
    # Another decoder rounds its inverse transforms differently.
    peer = compressed.pixel_array.astype(int)
    assert np.abs(values - peer).max() <= 1


@pytest.mark.parametrize("twin", LOSSLESS, ids=lambda twin: twin.name)
def test_signed_values_keep_their_sign(make_film: MakeFilm, twin: Twin) -> None:
    image = anatomy().astype(np.int16) - 2048
    compressed = open_dataset(saved(twin.of(make_film(image), image)))
    assert np.array_equal(read_stored_pixels(compressed).array(), image)


NATIVE_CASES = [
    # syntax, bits allocated, bits stored, high bit, signed
    (uids.ImplicitVRLittleEndian, 16, 12, 11, False),
    (uids.ImplicitVRLittleEndian, 8, 8, 7, False),
    (uids.ExplicitVRLittleEndian, 16, 16, 15, False),
    (uids.ExplicitVRLittleEndian, 16, 10, 9, True),
    (uids.ExplicitVRLittleEndian, 16, 12, 15, False),
    (uids.ExplicitVRLittleEndian, 16, 9, 12, True),
    (uids.ExplicitVRLittleEndian, 8, 6, 5, False),
    (uids.DeflatedExplicitVRLittleEndian, 16, 12, 11, False),
    (uids.DeflatedExplicitVRLittleEndian, 16, 14, 13, True),
    (uids.ExplicitVRBigEndian, 16, 12, 11, False),
    (uids.ExplicitVRBigEndian, 16, 12, 11, True),
    (uids.ExplicitVRBigEndian, 8, 8, 7, False),
    (uids.RLELossless, 16, 12, 14, True),
]


@pytest.mark.parametrize("case", NATIVE_CASES, ids=lambda case: "-".join(map(str, case[1:])))
def test_bits_outside_bits_stored_never_count(
    make_film: MakeFilm, case: tuple[str, int, int, int, bool]
) -> None:
    """Garbage above High Bit and below the lowest bit, as overlays and old scanners leave it."""
    syntax, allocated, stored, high_bit, is_signed = case
    values = anatomy(rows=160, columns=131, bits=stored).astype(np.int32)
    values -= 2 ** (stored - 1) if is_signed else 0
    low_bit = high_bit + 1 - stored
    mask = 2**stored - 1
    garbage = np.random.default_rng(7).integers(0, 2**allocated, values.shape)
    words = ((values & mask) << low_bit) | (garbage & ~(mask << low_bit))
    pixels = words.astype(np.uint8 if allocated == 8 else np.uint16)
    tags = {"BitsStored": stored, "HighBit": high_bit, "PixelRepresentation": int(is_signed)}
    dataset = make_film(pixels, **tags)
    dataset.file_meta.TransferSyntaxUID = uids.UID(syntax)
    if syntax == uids.RLELossless:
        dataset = make_film(pixels, BitsStored=16, HighBit=15)
        dataset.compress(syntax, generate_instance_uid=False)
        for name, value in tags.items():
            setattr(dataset, name, value)
    elif syntax == uids.ExplicitVRBigEndian:
        # 8-bit values as words (OW) lie in swapped pairs; 160 x 131 is even.
        pairs = pixels.ravel().view(np.uint16)
        dataset.PixelData = pairs.byteswap().tobytes()
    else:
        dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OB" if syntax == uids.RLELossless else "OW"
    read = open_dataset(saved(dataset))
    assert np.array_equal(read_stored_pixels(read).array(), values)
    if low_bit == 0:
        assert np.array_equal(read.pixel_array, values)


def test_overlays_are_neither_shown_nor_counted(make_film: MakeFilm) -> None:
    """Of an overlay plane and of bits above High Bit nothing reaches the film."""
    image = anatomy()
    plain = decode_film(make_film(image))
    burnt = make_film(image | (np.indices(image.shape).sum(0) % 2).astype(np.uint16) << 12)
    burnt.add_new((0x6000, 0x0010), "US", image.shape[0])
    burnt.add_new((0x6000, 0x0011), "US", image.shape[1])
    burnt.add_new((0x6000, 0x0040), "CS", "G")
    burnt.add_new((0x6000, 0x0050), "SS", [1, 1])
    burnt.add_new((0x6000, 0x0100), "US", 16)
    burnt.add_new((0x6000, 0x0102), "US", 12)
    burnt.add_new((0x6002, 0x0010), "US", image.shape[0])
    burnt.add_new((0x6002, 0x0011), "US", image.shape[1])
    burnt.add_new((0x6002, 0x3000), "OW", b"\xff" * (image.size // 8))
    assert np.array_equal(decode_film(open_dataset(saved(burnt))), plain)


DCMTK = [
    ("dcmcjpeg", ["+e1"], uids.JPEGLosslessSV1, 0),
    ("dcmcjpeg", ["+el", "+sv", "7"], uids.JPEGLossless, 0),
    ("dcmcjpeg", ["+ee", "+q", "95"], uids.JPEGExtended12Bit, 24),
    ("dcmcjpls", ["+el"], uids.JPEGLSLossless, 0),
    ("dcmcjpls", ["+en", "+md", "2"], uids.JPEGLSNearLossless, 2),
    ("dcmcrle", [], uids.RLELossless, 0),
    ("dcmconv", ["+td"], uids.DeflatedExplicitVRLittleEndian, 0),
    ("dcmconv", ["+tb"], uids.ExplicitVRBigEndian, 0),
    ("dcmconv", ["+ti"], uids.ImplicitVRLittleEndian, 0),
]


@pytest.mark.skipif(shutil.which("dcmcjpeg") is None, reason="the Debian package dcmtk is missing")
@pytest.mark.parametrize("case", DCMTK, ids=lambda case: " ".join([case[0], *case[1]]))
def test_what_another_toolkit_wrote_is_read_alike(
    tmp_path: Path, make_film: MakeFilm, case: tuple[str, list[str], str, int]
) -> None:
    tool, options, syntax, bound = case
    image = anatomy()
    source, target = tmp_path / "plain.dcm", tmp_path / "other.dcm"
    make_film(image, WindowCenter=2048, WindowWidth=4096).save_as(source, enforce_file_format=True)
    subprocess.run([tool, *options, source, target], check=True, capture_output=True)
    dataset = open_dataset(target.read_bytes())
    assert dataset.file_meta.TransferSyntaxUID == syntax
    values = read_stored_pixels(dataset).array()
    assert np.abs(values - image.astype(int)).max() <= bound


REAL_FILES = (
    "RG1_J2KI", "MR2_J2KR", "JPEG-LL", "JPGLosslessP14SV1_1s_1f_8b", "nih_dx_implicitLE",
    "highdicom_dx_mono1_dog_thorax", "vlut_04", "mlut_18", "explicit_VR-UN", "bad_sequence",
)  # fmt: skip


@pytest.mark.skipif(not SHARED.is_dir(), reason="RIBLINE_SHARED_DATA is missing")
@pytest.mark.parametrize("name", REAL_FILES)
def test_real_files_give_what_pydicom_gives(name: str) -> None:
    dataset = open_dataset((SHARED / "dicom_real" / f"{name}.dcm").read_bytes())
    assert np.array_equal(read_stored_pixels(dataset).array(), dataset.pixel_array)
    assert decode_film(dataset).shape == (dataset.Rows, dataset.Columns)


@pytest.mark.skipif(not SHARED.is_dir(), reason="RIBLINE_SHARED_DATA is missing")
@pytest.mark.parametrize("name", ["vlut_04", "mlut_18", "RG1_J2KI"])
def test_real_tables_and_windows_give_the_usual_grey_levels(name: str) -> None:
    """A VOI LUT, a modality LUT and a window of real files, against pydicom's processing."""
    dataset = open_dataset((SHARED / "dicom_real" / f"{name}.dcm").read_bytes())
    modality = apply_modality_lut(dataset.pixel_array, dataset)
    usual = np.asarray(apply_voi_lut(modality, dataset), float)
    if "VOILUTSequence" in dataset:
        usual /= 2.0 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
    elif "WindowCenter" not in dataset:
        low, high = np.percentile(modality, PERCENTILES)
        usual = np.clip((modality - low) / (high - low), 0, 1)
    else:
        centre, width = float(dataset.WindowCenter), float(dataset.WindowWidth)
        usual = np.clip((modality - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        usual = 1 - usual
    assert np.abs(decode_film(dataset) / 65535 - usual).max() < 0.5 / 255


@pytest.mark.skipif(not SHARED.is_dir(), reason="RIBLINE_SHARED_DATA is missing")
@pytest.mark.parametrize(
    ("name", "reason"),
    [("emri_small_RLE", "more than one frame"), ("OBXXXX1A_rle", "not a monochrome image")],
)
def test_real_files_that_are_no_film_have_their_reason(name: str, reason: str) -> None:
    with pytest.raises(UnusableFileError, match=reason):
        decode_film(open_dataset((SHARED / "dicom_real" / f"{name}.dcm").read_bytes()))


@pytest.mark.parametrize("twin", [*LOSSLESS, *LOSSY, BASELINE], ids=lambda twin: twin.name)
def test_a_frame_of_another_size_or_cut_short_is_refused(make_film: MakeFilm, twin: Twin) -> None:
    """The codestream's own size counts before a decoder allocates for it."""
    image = anatomy(bits=8 if twin is BASELINE else 12)
    whole = twin.of(make_film(image), image)
    whole.Rows += 1
    with pytest.raises(UnusableFileError, match=r"pixel data (do not have|cannot be decoded)"):
        read_stored_pixels(whole)
    whole.Rows -= 1
    for keep in (0.0, 0.01, 0.5, 0.95):
        frame = pydicom.encaps.get_frame(whole.PixelData, 0, number_of_frames=1)
        cut = Dataset()
        cut.update(whole)
        cut.file_meta = whole.file_meta
        cut.PixelData = pydicom.encaps.encapsulate([frame[: int(len(frame) * keep)] or b"\0\0"])
        with pytest.raises(UnusableFileError, match="pixel data"):
            read_stored_pixels(cut)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"BitsAllocated": 32}, "integers of at most 16 bits"),
        ({"BitsAllocated": 12}, "integers of at most 16 bits"),
        ({"BitsStored": 17}, "integers of at most 16 bits"),
        ({"BitsAllocated": None}, "does not describe"),
    ],
)
def test_formats_that_are_no_film_are_refused(
    make_film: MakeFilm, tags: dict[str, object], reason: str
) -> None:
    with pytest.raises(UnusableFileError, match=reason):
        read_stored_pixels(make_film(anatomy(), **tags))


def test_an_unknown_transfer_syntax_is_refused(make_film: MakeFilm) -> None:
    dataset = make_film(anatomy())
    dataset.file_meta.TransferSyntaxUID = uids.MPEG2MPML
    with pytest.raises(UnusableFileError, match="transfer syntax"):
        read_stored_pixels(dataset)
