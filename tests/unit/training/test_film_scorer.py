"""Single films score as the cohort's films do; the exported network scores as torch does."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from fabricated_films import FINDINGS, SIZE_PX, fabricate, plan_cohort

from training.film_scorer import FilmScorer
from training.onnx_export import TOLERANCE, check_model, export_model
from training.prediction import predict_run
from training.recipe import recipe
from training.train import train_run
from warehouse_schema.errors import ArgumentError, CheckpointError, TrainingError
from warehouse_schema.film_scores import SCORE_MAX, SquareFilm
from warehouse_schema.home import Home
from warehouse_schema.pixel_shards import open_array, read_film
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGE_PIXELS
from warehouse_schema.tables.results import MODEL_EXPORTS
from warehouse_schema.tables.runs import PREDICTIONS

WITHOUT_TORCH = """
import sys
for name in ("torch", "onnx", "training"):
    sys.modules[name] = None
import json
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
told = session.get_modelmeta().custom_metadata_map
given = np.load(sys.argv[2])
film = ((given["grey"].astype(np.float32) / 255 - 0.5) / 0.25)[:, None]
maps, scores = session.run(["maps", "scores"], {"film": film, "valid": given["valid"][:, None]})
np.savez(sys.argv[3], maps=maps, scores=scores)
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    """A supervised run of two epochs, predicted."""
    store = fabricate(tmp_path_factory.mktemp("trained"), plan_cohort())
    settings = dataclasses.replace(
        recipe("demo"),
        image_size_px=SIZE_PX,
        crop_px=None,
        batch_size=8,
        batch_mix="natural",
        n_epochs=2,
        passes_per_epoch=1,
        warmup_steps=0,
        n_cpu_threads=1,
    )
    run_id = train_run(store=store, recipe=settings, method="supervised", fold=0, seed=3)
    predict_run(store=store, run_id=run_id, splits=("test",))
    return store, run_id


def films_of(store: Store) -> dict[str, SquareFilm]:
    """The cached films by image."""
    return {
        row["image_id"]: SquareFilm(
            pixels=read_film(store.home.cache, row["shard_name"], row["shard_row"], None),
            pad_left_px=row["pad_left_px"],
            pad_top_px=row["pad_top_px"],
            valid_width_px=row["valid_width_px"],
            valid_height_px=row["valid_height_px"],
        )
        for row in store.read(IMAGE_PIXELS).to_pylist()
    }


def test_a_film_scores_as_in_the_cohort(trained: tuple[Store, str]) -> None:
    store, run_id = trained
    films, scorer = films_of(store), FilmScorer(store, run_id)
    assert (scorer.run.method, scorer.run.findings) == ("supervised", FINDINGS)
    rows = store.read(PREDICTIONS, where={"run_id": run_id}).to_pylist()
    assert len(rows) >= 20
    for row in rows[:16]:
        scores = scorer.score(films[row["image_id"]])
        assert scores.scores[row["finding"]] == pytest.approx(row["score"], abs=2 / SCORE_MAX)
        stored = open_array(store.home.root / row["map_path"])[row["map_row"]]
        assert scores.maps is not None
        found = scores.maps[row["finding"]]
        assert found.dtype == np.uint16
        assert np.abs(found.astype(int) - stored.astype(int)).max() <= 2
        assert not found[:, :8].any(), "padding"


def test_a_larger_film_is_brought_to_the_networks_size(trained: tuple[Store, str]) -> None:
    store, run_id = trained
    film = next(iter(films_of(store).values()))
    twice = SquareFilm(
        pixels=film.pixels.repeat(2, axis=0).repeat(2, axis=1),
        **{name: 2 * value for name, value in vars(film).items() if name != "pixels"},
    )
    scorer = FilmScorer(store, run_id)
    assert scorer.score(twice).scores == scorer.score(film).scores


def test_a_run_or_network_that_is_not_there(trained: tuple[Store, str]) -> None:
    store, run_id = trained
    with pytest.raises(ArgumentError, match="no finished run 'nobody'"):
        FilmScorer(store, "nobody")
    with pytest.raises(ArgumentError, match="has no teacher"):
        FilmScorer(store, run_id, network="teacher")


@pytest.fixture(scope="module")
def exported(trained: tuple[Store, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    store, run_id = trained
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    summary = export_model(store=store, run_id=run_id, path=path)
    assert summary.largest_difference <= TOLERANCE
    assert summary.n_bytes == path.stat().st_size
    return path


def test_onnxruntime_gives_the_same_without_torch(
    trained: tuple[Store, str], exported: Path, tmp_path: Path
) -> None:
    store, run_id = trained
    scorer = FilmScorer(store, run_id)
    films = list(films_of(store).values())[:5]
    valid = np.zeros((len(films), SIZE_PX, SIZE_PX), dtype=np.bool_)
    valid[:, :, 8:56] = True
    np.savez(tmp_path / "in.npz", grey=np.stack([film.pixels for film in films]), valid=valid)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, exported, tmp_path / "in.npz", tmp_path / "out.npz"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = {name.removeprefix("ribline."): value for name, value in json.loads(done.stdout).items()}
    assert json.loads(told["findings"]) == list(FINDINGS)
    assert (told["run_id"], told["image_size_px"]) == (run_id, str(SIZE_PX))
    assert told["checkpoint_sha256"] == scorer.run.checkpoint_sha256
    assert "0.25" in told["normalisation"]
    answer = np.load(tmp_path / "out.npz")
    for number, film in enumerate(films):
        scores = scorer.score(film)
        assert scores.maps is not None
        for column, finding in enumerate(FINDINGS):
            assert answer["scores"][number, column] == pytest.approx(
                scores.scores[finding], abs=TOLERANCE
            )
            difference = answer["maps"][number, column] - scores.maps[finding] / SCORE_MAX
            assert np.abs(difference).max() < TOLERANCE


def test_an_export_is_known_by_its_bytes_and_tells_nothing_of_this_machine(
    trained: tuple[Store, str], exported: Path, tmp_path: Path
) -> None:
    store, run_id = trained
    assert check_model(store=store, path=exported).run_id == run_id
    content = exported.read_bytes()
    assert str(Path(torch.__file__).parents[1]).encode() not in content
    assert str(Path(__file__).parents[3]).encode() not in content
    onnx.checker.check_model(onnx.load_model_from_string(content))
    altered = bytearray(content)
    altered[len(content) // 2] ^= 1
    (tmp_path / "altered.onnx").write_bytes(altered)
    (tmp_path / "hostile.onnx").write_bytes(b"\x08" * 1000)
    for name in ("altered.onnx", "hostile.onnx"):
        with pytest.raises(CheckpointError, match="no export of this warehouse, or was altered"):
            check_model(store=store, path=tmp_path / name)
    with pytest.raises(ArgumentError, match="cannot be read"):
        check_model(store=store, path=tmp_path / "away.onnx")


def test_an_export_that_differs_is_not_written(
    trained: tuple[Store, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, run_id = trained
    before = store.read(MODEL_EXPORTS).num_rows
    with pytest.raises(ArgumentError, match="--to"):
        export_model(store=store, run_id=run_id, path=tmp_path / "nowhere" / "x.onnx")
    monkeypatch.setattr("training.onnx_export._traced", lambda *_: onnx.ModelProto())
    monkeypatch.setattr("training.onnx_export._largest_difference", lambda *_: float("nan"))
    with pytest.raises(TrainingError, match="Nothing was written"):
        export_model(store=store, run_id=run_id, path=tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []
    assert store.read(MODEL_EXPORTS).num_rows == before


def test_a_network_that_is_no_graph_is_refused(
    trained: tuple[Store, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, run_id = trained

    def fail(*_: object, **__: object) -> None:
        raise torch.onnx.OnnxExporterError("numpy in the middle")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(ArgumentError, match="method supervised cannot be exported to ONNX"):
        export_model(store=Store(Home(store.home.root)), run_id=run_id, path=tmp_path / "x.onnx")
