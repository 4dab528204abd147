"""Contact sheets of synthetic films beside real ones, and their grey-level statistics.

Real films: NIH Clinical Center, ChestX-ray14, from $RIBLINE_SHARED_DATA/nih_chestxray14_subset.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from etl.synthetic_hospital.film import FilmRequest, FractureRequest, render_film

Picture = npt.NDArray[np.uint8]

_ROOT = Path(__file__).resolve().parents[1]
_CELL_PX = 300
_BANNER_PX = 30
_PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
_BANDS = (4, 8, 16, 32, 64, 128)


def main() -> None:
    """Writes the sheets into docs/images and prints the statistics; --json as one object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--out", type=Path, default=_ROOT / "docs" / "images")
    parser.add_argument("--films", type=int, default=40, help="films of each kind to measure")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    data = Path(os.environ.get("RIBLINE_SHARED_DATA", _ROOT.parent / "shared" / "data"))
    real_files = sorted((data / "nih_chestxray14_subset" / "images").glob("*.png"))
    synthetic = [_frontal(1000 + i) for i in range(arguments.films)]
    figures = {"synthetic": grey_statistics(synthetic)}
    _write(arguments.out / "contact_sheet_views.jpg", _views())
    _write(arguments.out / "contact_sheet_fractures.jpg", _fractures())
    if real_files:
        step = max(len(real_files) // arguments.films, 1)
        real = [_read(path) for path in real_files[::step]][: arguments.films]
        figures["real"] = grey_statistics(real)
        sheet = np.hstack(
            [
                _banner(_grid(synthetic[:12], 3), "SYNTHETIC"),
                np.full((4 * _CELL_PX + _BANNER_PX, 8), 255, dtype=np.uint8),
                _banner(_grid(real[1:13], 3), "REAL (NIH ChestX-ray14)"),
            ]
        )
        _write(arguments.out / "contact_sheet.jpg", sheet)
    if arguments.json:
        print(json.dumps(figures))
        return
    for kind, values in figures.items():
        print(kind)
        for name, numbers in values.items():
            print(f"  {name:28}", " ".join(f"{number:7.2f}" for number in numbers))


def grey_statistics(pictures: list[Picture]) -> dict[str, list[float]]:
    """Means over 8-bit pictures: grey percentiles, gradient percentiles, power by frequency."""
    greys, gradients, powers = [], [], []
    window = np.outer(np.hanning(512), np.hanning(512))
    rows, columns = np.indices((512, 512)) - 256
    radius = np.hypot(rows, columns)
    for picture in pictures:
        grey = cv2.resize(picture, (512, 512), interpolation=cv2.INTER_AREA).astype(np.float32)
        greys.append(np.percentile(grey, _PERCENTILES))
        slope = np.hypot(np.diff(grey, axis=0)[:, 1:], np.diff(grey, axis=1)[1:])
        gradients.append(np.percentile(slope, (25, 50, 75, 90, 95)))
        power = np.abs(np.fft.fftshift(np.fft.fft2((grey - grey.mean()) * window))) ** 2
        bands = [power[(radius > 0.8 * b) & (radius < 1.25 * b)].mean() for b in _BANDS]
        powers.append(np.log10(bands))
    return {
        "grey_percentiles": np.mean(greys, axis=0).round(2).tolist(),
        "gradient_percentiles": np.mean(gradients, axis=0).round(2).tolist(),
        "log10_power_by_cycles": np.mean(powers, axis=0).round(2).tolist(),
    }


def _frontal(seed: int, *fractures: FractureRequest, projection: str = "") -> Picture:
    request = FilmRequest(
        seed=seed,
        sex_code="FM"[seed % 2],
        age_years=22 + 11 * seed % 65,
        projection=projection or ("PA", "AP", "PA")[seed % 3],
        rows_px=512,
        columns_px=512,
        fractures=fractures,
    )
    film = render_film(request)
    picture = (film.pixels >> 4).astype(np.uint8)
    for box in film.boxes:
        corner = (round(box.x_px), round(box.y_px))
        far = (round(box.x_px + box.width_px), round(box.y_px + box.height_px))
        cv2.rectangle(picture, corner, far, 255, 1)
    return picture


def _views() -> Picture:
    films = [
        _frontal(60 + i, projection=view)
        for i, view in enumerate(("PA", "AP", "LATERAL", "ABDOMEN"))
    ]
    return _banner(_grid(films, 4), "SYNTHETIC   PA | AP | lateral | abdomen")


def _fractures() -> Picture:
    films = []
    for row, severity in enumerate(("evident", "moderate", "subtle", "old")):
        is_old = severity == "old"
        level = "evident" if is_old else severity
        rib = FractureRequest(
            finding="rib_fracture", side="left", rib_number=6, severity=level, is_old=is_old
        )
        clavicle = FractureRequest(
            finding="clavicle_fracture",
            side="right",
            rib_number=None,
            severity=level,
            is_old=is_old,
        )
        for seed in (300 + 2 * row, 301 + 2 * row):
            film = _frontal(seed, rib, clavicle, projection="PA")
            films += [_crop(film, seed, rib), _crop(film, seed, clavicle)]
    return _banner(_grid(films, 4), "SYNTHETIC   rows: evident, moderate, subtle, healed")


def _crop(picture: Picture, seed: int, fracture: FractureRequest) -> Picture:
    request = FilmRequest(
        seed=seed,
        sex_code="FM"[seed % 2],
        age_years=22 + 11 * seed % 65,
        projection="PA",
        rows_px=512,
        columns_px=512,
        fractures=(fracture,),
    )
    (box,) = render_film(request).boxes
    left = int(np.clip(box.x_px + box.width_px / 2 - 75, 0, 362))
    top = int(np.clip(box.y_px + box.height_px / 2 - 75, 0, 362))
    return picture[top : top + 150, left : left + 150]


def _read(path: Path) -> Picture:
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise SystemExit(f"{path.name} is not an image that can be read")
    return np.asarray(picture, dtype=np.uint8)


def _grid(pictures: list[Picture], columns: int) -> Picture:
    cells = [
        cv2.resize(one, (_CELL_PX, _CELL_PX), interpolation=cv2.INTER_AREA) for one in pictures
    ]
    rows = [np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)]
    return np.vstack(rows).astype(np.uint8)


def _banner(sheet: Picture, text: str) -> Picture:
    strip = np.full((_BANNER_PX, sheet.shape[1]), 255, dtype=np.uint8)
    cv2.putText(strip, text, (8, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 0, 2, cv2.LINE_AA)
    return np.vstack([strip, sheet])


def _write(path: Path, sheet: Picture) -> None:
    """A JPEG below 400 kB."""
    for quality in (88, 80, 70, 60, 50):
        done, data = cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if done and len(data) < 400_000:
            break
    path.write_bytes(data.tobytes())


if __name__ == "__main__":
    main()
