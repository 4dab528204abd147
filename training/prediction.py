"""Stage `predict`: score maps and image scores of a finished run.

Maps are uint16 = round(65535 p) at the network's input size, 0 in the padding, in files
``runs/RUN/maps/NETWORK-FINDING-SPLIT-NUMBER.npy`` of at most 128 films each. Evaluation needs
nothing else: neither the model nor the films. A method whose maps cannot be compared between
images keeps scores alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from evaluation.score_maps import SCORE_MAX
from training.checkpoint import load_checkpoint
from training.film_dataset import FilmSet, load_films
from training.methods import method_named
from training.methods.method import Method
from training.network import ScoringNetwork, build_network, load_network
from training.recipe import Recipe
from training.scoring import ScoredFilms, score_films
from training.train import best_checkpoint_path, run_row, torch_device, torch_settings
from warehouse_schema.errors import ArgumentError
from warehouse_schema.home_lock import writes_files
from warehouse_schema.pixel_shards import write_array
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGE_PIXELS
from warehouse_schema.tables.labels import COHORT
from warehouse_schema.tables.runs import PREDICTIONS, TRAINING_RUNS

FILMS_IN_FILE = 128
SPLITS = ("train", "validation", "test")
NETWORKS = ("student", "teacher")


@writes_files
def predict_run(
    *,
    store: Store,
    run_id: str,
    splits: tuple[str, ...] = ("validation", "test"),
    networks: tuple[str, ...] = ("student",),
    progress: Progress = SILENT,
) -> int:
    """Score the films of a run's fold with its best epoch.

    Args:
        store: Warehouse.
        run_id: A finished run.
        splits: Splits of its fold to score.
        networks: `student` (primary), `teacher`, or both.
        progress: Listener.

    Returns:
        Number of films scored, each by every network.

    Raises:
        ArgumentError: Unknown run, split or network.
        CohortError: The fold's splits are empty or lack films.
        CheckpointError: The checkpoint is missing, altered or of another network.
    """
    _check_choice("splits", splits, SPLITS)
    _check_choice("networks", networks, NETWORKS)
    row = run_row(store, run_id)
    recipe = Recipe.from_json(str(row["configuration_json"]))
    folder = store.home.runs / run_id / "maps"
    with torch_settings(recipe.n_cpu_threads):
        method = method_named(str(row["method"]))
        models = {name: _network(store, run_id, recipe, method, name) for name in networks}
        films = {split: _films(store, recipe, row, split) for split in splits}
        folder.mkdir(parents=True, exist_ok=True)
        progress.start(f"predict {row['method']}", sum(map(len, films.values())) * len(models))
        rows = [
            prediction
            for name, model in models.items()
            for split in splits
            for prediction in _predict_split(
                model,
                films[split],
                _Target(folder, name, split, recipe.findings),
                progress,
            )
        ]
        progress.finish()
    for prediction in rows:
        prediction |= {"run_id": run_id, "fold": row["fold"]}
        if prediction["map_path"] is not None:
            path = Path(str(prediction["map_path"])).relative_to(store.home.root)
            prediction["map_path"] = str(path)
    configuration = {"run_id": run_id, "splits": list(splits), "networks": list(networks)}
    with store.commit(stage="predict", configuration=configuration, run_id=run_id) as commit:
        commit.uses(TRAINING_RUNS, COHORT, IMAGE_PIXELS)
        commit.upsert(PREDICTIONS, pa.Table.from_pylist(rows, schema=PREDICTIONS.schema))
    return sum(map(len, films.values()))


@dataclass(frozen=True)
class _Target:
    folder: Path
    network: str
    split: str
    findings: tuple[str, ...]


def _check_choice(name: str, given: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    if not given or not set(given) <= set(allowed):
        raise ArgumentError(
            f"{name}: got {', '.join(given) or 'nothing'}, allowed are {', '.join(allowed)}."
        )


def _network(
    store: Store, run_id: str, recipe: Recipe, method: type[Method], name: str
) -> ScoringNetwork:
    tensors = load_checkpoint(best_checkpoint_path(store, run_id)).part(name)
    if not tensors:
        raise ArgumentError(f"networks: run {run_id} has no {name}; its method trains without one.")
    network, _ = build_network(recipe.with_random_weights(), seed=0, kind=method.network)
    load_network(network, tensors)
    return network.to(torch_device())


def _films(store: Store, recipe: Recipe, row: dict[str, object], split: str) -> FilmSet:
    return load_films(
        store=store,
        fold=int(str(row["fold"])),
        splits=[split],
        findings=recipe.findings,
        image_size_px=recipe.image_size_px,
    )


def _predict_split(
    model: ScoringNetwork, films: FilmSet, target: _Target, progress: Progress
) -> Iterator[dict[str, object]]:
    """Write the maps of a split and yield its prediction rows."""
    for number, scored in enumerate(_files(model, films, progress)):
        for column, finding in enumerate(target.findings):
            path = target.folder / f"{target.network}-{finding}-{target.split}-{number:04d}.npy"
            if scored.maps is not None:
                write_array(path, np.ascontiguousarray(scored.maps[:, column]))
            for place, row in enumerate(scored.rows):
                yield {
                    "network": target.network,
                    "image_id": films.image_ids[row],
                    "finding": finding,
                    "split": target.split,
                    "score": float(scored.images[place, column]) / SCORE_MAX,
                    "map_path": None if scored.maps is None else str(path),
                    "map_row": None if scored.maps is None else place,
                }


def _files(model: ScoringNetwork, films: FilmSet, progress: Progress) -> Iterator[ScoredFilms]:
    """The films of each file, scored."""
    held: list[ScoredFilms] = []
    is_mapped = model.has_comparable_maps
    for scored in score_films(model, films, device=torch_device(), is_mapped=is_mapped):
        held.append(scored)
        progress.advance(len(scored.rows))
        is_last = scored.rows[-1] == len(films) - 1
        if sum(len(part.rows) for part in held) >= FILMS_IN_FILE or is_last:
            maps = [part.maps for part in held if part.maps is not None]
            yield ScoredFilms(
                rows=np.concatenate([part.rows for part in held]),
                images=np.concatenate([part.images for part in held]),
                maps=np.concatenate(maps) if maps else None,
            )
            held = []
