"""What this machine trains on, for people."""

from __future__ import annotations

import os
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
