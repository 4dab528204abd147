"""The processes of one training run: one, or as many as torchrun started.

Each process takes its part of every batch. Losses are sums over films divided by the global batch,
so the gradients of all processes add up to those of one process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Processes:
    """This process among its fellows.

    Attributes:
        rank: Its number; 0 writes checkpoints, logs and tables.
        count: How many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """True for the process that writes."""
        return self.rank == 0

    def part(self, n: int) -> tuple[int, int]:
        """First and one past the last of this process's share of ``n`` films."""
        return self.rank * n // self.count, (self.rank + 1) * n // self.count

    def summed(self, sums: dict[str, Tensor]) -> dict[str, list[float]]:
        """Sums over all processes, in one exchange and one copy from the device.

        Args:
            sums: The same names in each process; scalars or vectors.
        """
        names = sorted(sums)
        flat = torch.cat([sums[name].detach().double().reshape(-1) for name in names])
        if self.count > 1:
            distributed.all_reduce(flat)
        values = iter(flat.tolist())
        return {name: [next(values) for _ in range(sums[name].numel())] for name in names}

    def gathered(self, values: NDArray[np.float64], first: int, n: int) -> NDArray[np.float64]:
        """All rows of an array of which each process has some.

        Args:
            values: This process's rows, (m, K).
            first: Number of the first of them.
            n: Rows altogether.
        """
        if self.count == 1:
            return values
        whole = np.zeros((n, values.shape[1]))
        whole[first : first + len(values)] = values
        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        shared = torch.from_numpy(whole).to(device)
        distributed.all_reduce(shared)
        return np.asarray(shared.cpu().numpy())

    @torch.no_grad()
    def average_buffers(self, network: nn.Module) -> None:
        """Make floating buffers (BatchNorm's live statistics) the mean over the processes."""
        if self.count == 1:
            return
        for buffer in network.buffers():
            if buffer.is_floating_point():
                distributed.all_reduce(buffer)
                buffer.div_(self.count)

    def wait(self) -> None:
        """Go on when every process has come here."""
        if self.count > 1:
            distributed.barrier()

    def parallel(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network whose backward pass averages gradients over the processes."""
        if self.count == 1:
            return network
        places = [device.index] if device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=places, forward_sync_buffers=False)

    def adding_up(self, network: nn.Module, *, is_last: bool) -> AbstractContextManager[None]:
        """Around a micro-batch: gradients are exchanged after the last one of a step alone."""
        if isinstance(network, DistributedDataParallel) and not is_last:
            return network.no_sync()
        return nullcontext()


ALONE = Processes()


@contextmanager
def joined_processes(device: torch.device) -> Iterator[Processes]:
    """Join the processes that torchrun started; without torchrun, this one alone.

    Args:
        device: Where the networks will be: NCCL joins CUDA devices, gloo the others.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    if not distributed.is_initialized():
        # One group for all runs of a command: the second could not meet at the first one's port.
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    processes = Processes(distributed.get_rank(), distributed.get_world_size())
    yield processes
    processes.wait()
