"""A run's network as one ONNX file, which onnxruntime runs without torch.

Inputs: ``film`` (n, 1, S, S) float32, the square film normalised, and ``valid`` (n, 1, S, S) bool,
True where a pixel shows film and not padding. Outputs: ``maps`` (n, K, S, S), 0 in the padding, and
``scores`` (n, K), both probabilities in float32. The file's metadata say the rest. An export is
known by the SHA-256 of its bytes, which the warehouse keeps: a file is checked before it is parsed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import torch
from torch import Tensor, nn

from training.box_detectors import BoxDetector
from training.film_scorer import FilmScorer
from training.network import ScoringNetwork
from training.train import torch_settings
from warehouse_schema.code_version import code_version
from warehouse_schema.durable_files import write_named
from warehouse_schema.errors import ArgumentError, CheckpointError, TrainingError
from warehouse_schema.home_lock import writes_files
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store
from warehouse_schema.tables.results import MODEL_EXPORTS
from warehouse_schema.tables.runs import TRAINING_RUNS

OPSET = 18
TOLERANCE = 1e-4
N_CHECKED_FILMS = 3
PREFIX = "ribline."
NORMALISATION = "film = (grey / 255 - 0.5) / 0.25, grey uint8, bones bright"
FRAME = (
    "the film resized by one factor to fit the square (area average where it shrinks), centred on "
    "grey 0; valid is True on the film"
)
NOTICE = "Research use only. Not for diagnosis."


@dataclass(frozen=True, kw_only=True)
class ModelExport:
    """An ONNX file of a run.

    Attributes:
        run_id: Training run.
        file_sha256: SHA-256 of the file.
        n_bytes: Its size.
        largest_difference: Largest difference from torch on the films it was checked with.
    """

    run_id: str
    file_sha256: str
    n_bytes: int
    largest_difference: float


class _Exported(nn.Module):
    """The network with its scores as plain outputs."""

    def __init__(self, network: ScoringNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, film: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.network.score(film, valid)
        assert scores.maps is not None
        return scores.maps, scores.images


@writes_files
def export_model(
    *, store: Store, run_id: str, path: Path, progress: Progress = SILENT
) -> ModelExport:
    """Write the student of a run's best epoch as ONNX, checked against torch first.

    Args:
        store: Warehouse.
        run_id: A finished run.
        path: File to write; it is replaced as a whole or not at all.
        progress: Listener.

    Raises:
        ArgumentError: Unknown run, a method whose network cannot be exported, or a path that cannot
            be written to.
        CheckpointError: The checkpoint is missing, altered or of another network.
        TrainingError: onnxruntime's outputs differ from torch's.
    """
    if not path.parent.is_dir() or path.is_dir():
        raise ArgumentError(f"--to: {path} cannot be written. Name a file in a folder there is.")
    progress.start("export-model", None)
    scorer = FilmScorer(store, run_id)
    network = _Exported(scorer.network).cpu().eval()
    with torch_settings(scorer.recipe.n_cpu_threads), torch.no_grad():
        model = _traced(network, scorer)
        _describe(model, scorer)
        content = model.SerializeToString(deterministic=True)
        difference = _largest_difference(network, content, scorer.recipe.image_size_px)
    if not difference <= TOLERANCE:
        raise TrainingError(
            f"export-model: onnxruntime's outputs differ from torch's by {difference:.2g}, at most "
            f"{TOLERANCE:g} is allowed. Nothing was written."
        )
    _write(path, content)
    exported = ModelExport(
        run_id=run_id,
        file_sha256=hashlib.sha256(content).hexdigest(),
        n_bytes=len(content),
        largest_difference=difference,
    )
    _publish(store, exported)
    progress.finish()
    return exported


def check_model(*, store: Store, path: Path) -> ModelExport:
    """Whether a file is an export of this warehouse, byte for byte; it is hashed, not parsed.

    Raises:
        ArgumentError: The file cannot be read.
        CheckpointError: It is no export of this warehouse, or was altered.
    """
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArgumentError(f"--check: {path} cannot be read ({error.strerror}).") from None
    rows = store.read(MODEL_EXPORTS, where={"file_sha256": sha256}).to_pylist()
    if not rows:
        raise CheckpointError(
            f"--check: {path} is no export of this warehouse, or was altered after it was written: "
            f"no row of model_exports has its SHA-256 {sha256[:16]}... Export the run again."
        )
    names = ("run_id", "file_sha256", "n_bytes", "largest_difference")
    return ModelExport(**{name: rows[0][name] for name in names})


def _traced(network: _Exported, scorer: FilmScorer) -> onnx.ModelProto:
    size = scorer.recipe.image_size_px
    films = torch.export.Dim("films", min=1)
    example = (torch.zeros(2, 1, size, size), torch.ones(2, 1, size, size, dtype=torch.bool))
    try:
        if isinstance(network.network, BoxDetector):
            raise TypeError("its boxes are sorted out and painted outside torch")
        with _quiet():
            program = torch.onnx.export(
                network,
                example,
                dynamo=True,
                input_names=["film", "valid"],
                output_names=["maps", "scores"],
                dynamic_shapes=({0: films}, {0: films}),
                opset_version=OPSET,
                verbose=False,
            )
    except (torch.onnx.OnnxExporterError, RuntimeError, TypeError):
        raise ArgumentError(
            f"--run: the network of method {scorer.run.method} cannot be exported to ONNX: parts "
            "of it are no tensor operations. Export a run of another method."
        ) from None
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    return model


def _describe(model: onnx.ModelProto, scorer: FilmScorer) -> None:
    """Put what a user must know into the file, and take out where its code lay on this machine."""
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
    for each in (*model.graph.input, *model.graph.output):
        del each.metadata_props[:]
    del model.graph.metadata_props[:], model.metadata_props[:]
    model.graph.doc_string = ""
    model.producer_name, model.producer_version = "ribline", code_version()
    model.doc_string = NOTICE
    entries: Mapping[str, str] = {
        "run_id": scorer.run.run_id,
        "method": scorer.run.method,
        "findings": json.dumps(list(scorer.run.findings)),
        "image_size_px": str(scorer.recipe.image_size_px),
        "normalisation": NORMALISATION,
        "frame": FRAME,
        "has_comparable_maps": json.dumps(scorer.run.has_maps),
        "checkpoint_sha256": scorer.run.checkpoint_sha256,
        "weights_sha256": _weights_sha256(model),
        "trained_by": scorer.run.code_version,
        "notice": NOTICE,
    }
    for name, value in entries.items():
        model.metadata_props.add(key=PREFIX + name, value=value)


def _weights_sha256(model: onnx.ModelProto) -> str:
    """SHA-256 over the file's own tensors, names and shapes included."""
    digest = hashlib.sha256()
    for tensor in sorted(model.graph.initializer, key=lambda each: each.name):
        digest.update(f"{tensor.name} {list(tensor.dims)} {tensor.data_type}\n".encode())
        digest.update(tensor.raw_data)
    return digest.hexdigest()


def _largest_difference(network: _Exported, content: bytes, size_px: int) -> float:
    """Largest difference of any output from torch's, on films of noise with padding."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    films = rng.normal(size=(N_CHECKED_FILMS, 1, size_px, size_px)).astype(np.float32)
    valid = np.ones_like(films, dtype=np.bool_)
    valid[1:, :, : size_px // 8] = False
    theirs = session.run(["maps", "scores"], {"film": films, "valid": valid})
    ours = network(torch.from_numpy(films), torch.from_numpy(valid))
    return max(
        float(np.abs(mine.numpy() - other).max()) for mine, other in zip(ours, theirs, strict=True)
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of its own parts and prints its steps."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _write(path: Path, content: bytes) -> None:
    try:
        write_named(path, content)
    except OSError as error:
        raise ArgumentError(
            f"--to: {path} cannot be written ({error.strerror}). Free space, or name another file."
        ) from None


def _publish(store: Store, exported: ModelExport) -> None:
    row = vars(exported) | {
        "opset": OPSET,
        "code_version": code_version(),
        "exported_datetime": datetime.now(UTC),
    }
    configuration = {"run_id": exported.run_id, "opset": OPSET}
    with store.commit(
        stage="export-model", configuration=configuration, run_id=exported.run_id
    ) as commit:
        commit.uses(TRAINING_RUNS)
        commit.upsert(MODEL_EXPORTS, pa.Table.from_pylist([row], schema=MODEL_EXPORTS.schema))
