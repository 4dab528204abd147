"""A run's network for films that stand in no cohort, as `ribline predict FILE` gives them."""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from training.checkpoint import load_checkpoint
from training.film_dataset import input_film, valid_area
from training.methods import method_named
from training.network import ScoringNetwork, build_network, load_network, normalise
from training.recipe import Recipe
from training.train import best_checkpoint_path, run_row, torch_device, torch_settings
from warehouse_schema.errors import ArgumentError
from warehouse_schema.film_scores import SCORE_MAX, FilmScores, ScoringRun, SquareFilm
from warehouse_schema.store import Store

Network = Literal["student", "teacher"]


class FilmScorer:
    """Scores films one by one with the best epoch of a finished run.

    Args:
        store: Warehouse.
        run_id: A finished run.
        network: `student` (primary) or `teacher`.

    Attributes:
        recipe: The run's recipe.
        run: The run, as results name it.
        network: The network, in evaluation mode.

    Raises:
        ArgumentError: Unknown run, or one without this network.
        CheckpointError: The checkpoint is missing, altered or of another network.
    """

    def __init__(self, store: Store, run_id: str, *, network: Network = "student") -> None:
        row = run_row(store, run_id)
        self.recipe = Recipe.from_json(str(row["configuration_json"]))
        path = best_checkpoint_path(store, run_id)
        tensors = load_checkpoint(path).part(network)
        if not tensors:
            raise ArgumentError(
                f"network: run {run_id} has no {network}; its method trains without one."
            )
        kind = method_named(str(row["method"])).network
        self.network: ScoringNetwork
        self.network, _ = build_network(self.recipe.with_random_weights(), seed=0, kind=kind)
        load_network(self.network, tensors)
        self._device = torch_device()
        self.network.to(self._device).eval()
        self.run = ScoringRun(
            run_id=run_id,
            method=str(row["method"]),
            findings=self.recipe.findings,
            code_version=str(row["code_version"]),
            checkpoint_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            has_maps=self.network.has_comparable_maps,
        )

    @torch.no_grad()
    def score(self, film: SquareFilm) -> FilmScores:
        """Score one film, by the same transform, network and rounding as `predict_run`."""
        size = self.recipe.image_size_px
        area = valid_area(
            pads_px=(film.pad_left_px, film.pad_top_px),
            valid_px=(film.valid_width_px, film.valid_height_px),
            size_px=film.pixels.shape[0],
            image_size_px=size,
        )
        valid = np.zeros((1, 1, size, size), dtype=np.bool_)
        valid[..., area.row_start : area.row_stop, area.column_start : area.column_stop] = True
        # A film of the cache is memory-mapped, and torch takes no memory that cannot be written.
        pixels = torch.from_numpy(np.array(input_film(film.pixels, size))).to(self._device)
        inputs = normalise(pixels[None, None].float() / 255.0)
        with torch_settings(self.recipe.n_cpu_threads):
            scores = self.network.score(
                inputs.contiguous(memory_format=torch.channels_last),
                torch.from_numpy(valid).to(self._device),
                is_mapped=self.run.has_maps,
            )
        images = _in_16_bits(scores.images[0])
        maps = None if scores.maps is None or not self.run.has_maps else _in_16_bits(scores.maps[0])
        findings = self.recipe.findings
        return FilmScores(
            scores={
                finding: float(value) / SCORE_MAX
                for finding, value in zip(findings, images, strict=True)
            },
            maps=None if maps is None else dict(zip(findings, maps, strict=True)),
        )


def _in_16_bits(probabilities: torch.Tensor) -> NDArray[np.uint16]:
    levels = (probabilities * SCORE_MAX).round().to(torch.int32)
    return levels.cpu().numpy().astype(np.uint16)
