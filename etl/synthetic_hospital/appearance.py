"""From line integrals to grey levels: Beer-Lambert, scatter, blur, noise and the display curve."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from etl.synthetic_hospital.projection import Array

# Effective linear attenuation (1/mm) of water and the excess of cortical bone at chest energies.
WATER_PER_MM = 0.0185
BONE_PER_MM = 0.055
MAXIMUM_GREY = 4095


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """One exposure and its processing.

    scatter_ratio is scattered over primary signal behind the patient; blur_px the detector's
    point spread (standard deviation), sharpening the edge enhancement that follows; photons the
    quanta per pixel in open air, noise_grain_px how far their noise spreads; compression the part
    of the slow variation that processing takes out; air_level, lung_level and dense_level the
    grey (0 to 1) of open air, lung and dense tissue.
    """

    scatter_ratio: float
    blur_px: float
    photons: float
    compression: float
    air_level: float
    lung_level: float
    dense_level: float
    noise_grain_px: float
    sharpening: float


def sample_exposure(rng: np.random.Generator, *, is_portable: bool) -> Exposure:
    """Draws technique and processing; a portable film has no grid, so more scatter."""
    scatter = rng.uniform(0.9, 2.2) if is_portable else rng.uniform(0.3, 0.9)
    return Exposure(
        scatter_ratio=float(scatter),
        blur_px=float(rng.uniform(0.5, 0.9)),
        photons=float(np.exp(rng.uniform(np.log(4e4), np.log(4e5)))),
        compression=float(rng.uniform(0.3, 0.6)),
        air_level=float(rng.uniform(0.0, 0.12)),
        lung_level=float(np.clip(rng.normal(0.42, 0.07), 0.25, 0.58)),
        dense_level=float(np.clip(rng.normal(0.80, 0.05), 0.66, 0.92)),
        noise_grain_px=float(rng.uniform(0.35, 0.6)),
        sharpening=float(rng.uniform(0.1, 0.8)),
    )


@dataclass(frozen=True, kw_only=True)
class Absorbers:
    """Everything a ray crosses, as attenuation (no unit), at full (H, W) and reduced size.

    slow is smooth anatomy on a reduced grid; sharp is what the full grid adds to it. slow never
    depends on a fracture, and scatter and the display curve look at slow alone, so that a
    fracture changes the film where it is and nowhere else.
    """

    slow: Array
    sharp: Array
    lung_mask: npt.NDArray[np.bool_]


def expose(rng: np.random.Generator, absorbers: Absorbers, exposure: Exposure) -> Array:
    """Grey levels (H, W), float32 in 0..1."""
    rows, columns = absorbers.sharp.shape
    slow = cv2.resize(absorbers.slow, (columns, rows), interpolation=cv2.INTER_CUBIC)
    total = cv2.GaussianBlur(slow + absorbers.sharp, (0, 0), exposure.blur_px)
    primary_slow = np.exp(-absorbers.slow)
    reach = max(absorbers.slow.shape) * 0.09
    scatter = cv2.GaussianBlur(primary_slow, (0, 0), reach, borderType=cv2.BORDER_REPLICATE)
    inside = 1 - np.exp(-absorbers.slow)
    scatter = scatter * inside * np.float32(0.5 * exposure.scatter_ratio)
    signal = np.exp(-total) + cv2.resize(scatter, (columns, rows), interpolation=cv2.INTER_LINEAR)
    noise = rng.standard_normal(signal.shape, dtype=np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), exposure.noise_grain_px)
    signal = signal + noise * np.sqrt(np.maximum(signal, 1e-6) / np.float32(exposure.photons))
    density = -np.log(np.maximum(signal, np.float32(1e-4)))
    density += np.float32(exposure.sharpening) * (density - cv2.GaussianBlur(density, (0, 0), 2.2))
    slow_density = -np.log(primary_slow + scatter)
    return _displayed(density, slow_density, absorbers.lung_mask, exposure)


def _displayed(
    density: Array, slow_density: Array, lung_mask: npt.NDArray[np.bool_], exposure: Exposure
) -> Array:
    """Takes part of the slow variation out and maps lung and dense tissue to their levels."""
    rows, columns = density.shape
    reach = max(slow_density.shape) * 0.07
    base = cv2.GaussianBlur(slow_density, (0, 0), reach, borderType=cv2.BORDER_REPLICATE)
    # Every third pixel is plenty for the levels.
    coarse = slow_density[::3, ::3]
    body = coarse > 0.35
    if body.sum() < 20:
        body = np.ones_like(body)
    lungs = lung_mask[::3, ::3] if lung_mask[::3, ::3].sum() > 20 else body
    middle = np.float32(np.median(coarse[body]))
    taken = np.float32(exposure.compression) * (base - middle) * np.clip(slow_density / 1.2, 0, 1)
    density = density - cv2.resize(taken.astype(np.float32), (columns, rows))
    slow_out = (slow_density - taken)[::3, ::3]
    low = float(np.percentile(slow_out[lungs], 25))
    high = float(np.percentile(slow_out[body], 84))
    scale = (exposure.dense_level - exposure.lung_level) / max(high - low, 0.3)
    grey = exposure.lung_level + (density - low) * np.float32(scale)
    return _shouldered(grey, exposure.air_level)


def _shouldered(grey: Array, floor: float) -> Array:
    """A soft toe at the floor and a soft shoulder at 1, as film and display curves have."""
    ramp = np.linspace(-1, 2, 12001)
    low = floor + 0.12 * np.logaddexp(0, (ramp - floor) / 0.12)
    curve = 0.94 - 0.1 * np.logaddexp(0, (0.94 - low) / 0.1)
    curve = np.clip(curve, 0, 1).astype(np.float32)
    # A table: the exponentials of a whole film would cost as much as its ribs.
    place = np.clip((grey + 1) * np.float32(4000), 0, 12000).astype(np.int32)
    return np.asarray(curve[place])
