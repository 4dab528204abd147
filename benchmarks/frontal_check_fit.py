"""Fits the frontal image check again, by hand: the recipe behind etl/films/frontal_check.py.

Positives are the frontal films of a folder in the layout of NIH ChestX-ray14 (images/ and
Data_Entry_2017_v2020.csv) and synthetic ones; negatives are synthetic laterals and abdomens and
parts and turns of the real films: upside down, turned to either side, as negative, a half, a
shoulder, the upper third, the lower half. One JSON object: the share of each kind that passes when
its patient is held out (five folds), the same for the weights in use, and the fitted weights in
thousandths, as the module holds them.

    python benchmarks/frontal_check_fit.py FOLDER [--synthetic 150]
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from etl.films.frontal_check import SIDE, check_frontal, frontal_features
from etl.synthetic_hospital.film import FilmRequest, render_film

Film = NDArray[np.uint8]
INVERSE_PENALTY = 0.3
N_FOLDS = 5
FRONTAL = ("real frontal", "synthetic frontal")


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="images/ and Data_Entry_2017_v2020.csv")
    parser.add_argument("--synthetic", type=int, default=150, help="synthetic films of a kind")
    given = parser.parse_args()
    print(json.dumps(fit(given.folder, given.synthetic)))


def fit(folder: Path, n_synthetic: int) -> dict[str, object]:
    """Held-out shares of the fit, those of the weights in use, and the weights."""
    kinds: list[str] = []
    patients: list[str] = []
    films: list[Film] = []
    for kind, patient, film in (*real_films(folder), *synthetic_films(n_synthetic)):
        kinds.append(kind)
        patients.append(patient)
        films.append(film)
    features = np.array([frontal_features(film) for film in films])
    is_frontal = np.array([kind in FRONTAL for kind in kinds])
    passed = np.zeros(len(films), dtype=np.bool_)
    for train, test in GroupKFold(N_FOLDS).split(features, groups=patients):
        passed[test] = model().fit(features[train], is_frontal[train]).predict(features[test])
    final = model().fit(features, is_frontal)
    weights = np.round(1000 * final.coef_[0]).astype(int)
    return {
        "films": len(films),
        "held_out": shares(kinds, passed),
        "in_use": shares(kinds, np.array([check_frontal(film).is_frontal for film in films])),
        "rank_weights": weights[:-1].reshape(SIDE, SIDE // 2).tolist(),
        "symmetry_weight": int(weights[-1]),
        "intercept": round(1000 * float(final.intercept_[0])),
    }


def model() -> LogisticRegression:
    """L2, not scaled: ranks are."""
    return LogisticRegression(C=INVERSE_PENALTY, max_iter=5000)


def real_films(folder: Path) -> list[tuple[str, str, Film]]:
    """Kind, patient and film of every film in the folder, and of its parts and turns."""
    with (folder / "Data_Entry_2017_v2020.csv").open(newline="", encoding="utf-8") as file:
        patients = {row["Image Index"]: row["Patient ID"] for row in csv.DictReader(file)}
    found = []
    for path in sorted((folder / "images").glob("*.png")):
        film = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), dtype=np.uint8)
        rows, columns = film.shape
        views = {
            "real frontal": film,
            "upside down": film[::-1, ::-1],
            "turned left": np.rot90(film),
            "turned right": np.rot90(film, 3),
            "negative": 255 - film,
            "half": film[:, : columns // 2],
            "shoulder": film[: rows // 2, : columns // 2],
            "upper third": film[: rows // 3],
            "lower half": film[rows // 2 :],
        }
        found += [
            (kind, patients[path.name], np.ascontiguousarray(view)) for kind, view in views.items()
        ]
    return found


def synthetic_films(n_films: int) -> list[tuple[str, str, Film]]:
    """Kind, a patient of its own and film of the synthetic hospital's views."""
    found = []
    for kind, projection in (
        ("synthetic frontal", "PA"),
        ("synthetic lateral", "LATERAL"),
        ("synthetic abdomen", "ABDOMEN"),
    ):
        for seed in range(n_films if projection == "PA" else n_films // 2):
            request = FilmRequest(
                seed=seed,
                sex_code="FM"[seed % 2],
                age_years=25 + seed % 60,
                projection="AP" if projection == "PA" and seed % 3 == 0 else projection,
                rows_px=192,
                columns_px=176,
            )
            pixels = render_film(request).pixels.astype(float)
            low, high = np.percentile(pixels, (1, 99))
            film = np.clip((pixels - low) / (high - low) * 255, 0, 255).astype(np.uint8)
            found.append((kind, f"{kind} {seed}", film))
    return found


def shares(kinds: list[str], passed: NDArray[np.bool_]) -> dict[str, float]:
    """Share of each kind that passes."""
    outcomes: dict[str, list[bool]] = defaultdict(list)
    for kind, is_passed in zip(kinds, passed, strict=True):
        outcomes[kind].append(bool(is_passed))
    return {kind: round(float(np.mean(each)), 3) for kind, each in outcomes.items()}


if __name__ == "__main__":
    main()
