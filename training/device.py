"""What this machine trains on, what it is fast at, and how much memory was used."""

from __future__ import annotations

import os
import resource
import sys
from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class DeviceDescription:
    """The device that runs train and predict on.

    Attributes:
        is_gpu: True for a CUDA device.
        text: Its name and memory, or the number of cores.
    """

    is_gpu: bool
    text: str


def describe_device() -> DeviceDescription:
    """Describe the device in force."""
    if not torch.cuda.is_available():
        return DeviceDescription(is_gpu=False, text=f"CPU, {os.cpu_count()} cores, no GPU")
    properties = torch.cuda.get_device_properties(0)
    memory_gib = properties.total_memory / 2**30
    return DeviceDescription(is_gpu=True, text=f"{properties.name}, {memory_gib:.0f} GiB")


def has_fast_bfloat16(device: torch.device) -> bool:
    """True where bfloat16 arithmetic is faster than float32.

    On CUDA from compute capability 8.0 (Ampere) on; on a CPU with AVX512-BF16 or AMX.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    abilities = torch.cpu.get_capabilities()
    return bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))


def peak_memory_gib(device: torch.device) -> float:
    """Largest memory so far: of the device's tensors, or of this process on a CPU, in GiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    # ru_maxrss is in KiB, on macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
