"""Checkpoints: tensors as safetensors, the rest as JSON, atomic and verified by hash; no pickle.

A checkpoint is a pair NAME.safetensors and NAME.json in the run's folder. The tensors are written
first, the JSON, which holds their SHA-256 and its own, last: a pair without a valid JSON does not
exist. The newer of two replaces the older only when it is complete.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load, save
from torch import Tensor

from warehouse_schema.code_version import code_version
from warehouse_schema.durable_files import write_named
from warehouse_schema.errors import CheckpointError, TrainingError

FORMAT = 2


@dataclass(frozen=True)
class Checkpoint:
    """Tensors, the JSON state beside them, and the version of the code that wrote both."""

    tensors: dict[str, Tensor]
    state: dict[str, object]
    code_version: str

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Tensors under ``prefix/``, without it."""
        start = f"{prefix}/"
        return {
            name.removeprefix(start): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(start)
        }


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors named ``PREFIX/NAME``, which ``Checkpoint.part`` takes apart."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def save_checkpoint(
    folder: Path, kind: str, number: int, tensors: dict[str, Tensor], state: Mapping[str, object]
) -> Path:
    """Write checkpoint ``KIND-NUMBER`` and remove older ones of its kind but the last before it.

    Returns:
        Path of the safetensors file.

    Raises:
        TrainingError: The disk is full or the folder cannot be written to; the checkpoint before
            is untouched.
    """
    path = folder / f"{kind}-{number:08d}.safetensors"
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    payload = save(plain)
    body: dict[str, object] = {
        "format": FORMAT,
        "code_version": code_version(),
        "tensors_sha256": hashlib.sha256(payload).hexdigest(),
        "state": dict(state),
    }
    body["sha256"] = _self_hash(body)
    try:
        write_named(path, payload)
        write_named(path.with_suffix(".json"), json.dumps(body, sort_keys=True).encode())
    except OSError as error:
        raise TrainingError(
            f"checkpoint {path.name} cannot be written ({error.strerror}). Free space under the "
            "home folder and start the same command again: it goes on from the last checkpoint."
        ) from None
    for old in checkpoint_paths(folder, kind)[2:]:
        old.with_suffix(".json").unlink(missing_ok=True)
        old.unlink(missing_ok=True)
    return path


def checkpoint_paths(folder: Path, kind: str) -> list[Path]:
    """Checkpoints of a kind that have their JSON, newest first."""
    files = sorted(folder.glob(f"{kind}-*.json"), reverse=True)
    return [file.with_suffix(".safetensors") for file in files]


def newest_checkpoint(folder: Path, kind: str) -> Checkpoint | None:
    """The newest intact checkpoint of a kind; None where there is none at all.

    Raises:
        CheckpointError: There are checkpoints, and none is intact.
    """
    paths = checkpoint_paths(folder, kind)
    for path in paths:
        try:
            return load_checkpoint(path)
        except CheckpointError:
            if path == paths[-1]:
                raise
    return None


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and verify a checkpoint.

    Raises:
        CheckpointError: It is missing, torn, altered or of another format.
    """
    try:
        body = json.loads(path.with_suffix(".json").read_bytes())
        payload = path.read_bytes()
        expected, stated = _self_hash(body), body["sha256"]
        tensors_sha256, version, state = body["tensors_sha256"], body["format"], body["state"]
        writer = body.get("code_version", "an earlier version")
    except (OSError, ValueError, KeyError, TypeError):
        raise CheckpointError(
            f"checkpoint {path.name} is missing or torn. Train the run again."
        ) from None
    if version != FORMAT:
        raise CheckpointError(
            f"checkpoint {path.name} has format {version}, this version reads format {FORMAT}. "
            f"Train the run again, or use the version of Ribline that wrote it ({writer})."
        )
    if expected != stated or hashlib.sha256(payload).hexdigest() != tensors_sha256:
        raise CheckpointError(
            f"checkpoint {path.name} was altered after it was written: its SHA-256 differs. "
            "Restore it from a backup or train the run again."
        )
    return Checkpoint(tensors=load(payload), state=state, code_version=writer)


def _self_hash(body: dict[str, object]) -> str:
    rest = {name: value for name, value in body.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
