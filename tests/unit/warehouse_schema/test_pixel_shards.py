"""Shards: written whole or not at all, mapped, and refused where torn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from warehouse_schema.errors import ConfigurationError, WarehouseError
from warehouse_schema.home import Home
from warehouse_schema.pixel_shards import open_array, read_film, write_array


def test_a_film_comes_back_as_written(tmp_path: Path) -> None:
    films = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    write_array(tmp_path / "a.npy", films)
    assert np.array_equal(read_film(tmp_path, "a.npy", 2), films[2])
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


@pytest.mark.parametrize("row", [-1, 3])
def test_a_row_outside_the_shard_is_refused(tmp_path: Path, row: int) -> None:
    write_array(tmp_path / "a.npy", np.zeros((3, 8, 8), np.uint8))
    with pytest.raises(WarehouseError, match="has 3 films"):
        read_film(tmp_path, "a.npy", row)


def test_missing_torn_and_pickled_files_are_refused(tmp_path: Path) -> None:
    torn = tmp_path / "torn.npy"
    write_array(torn, np.zeros((3, 8, 8), np.uint8))
    torn.write_bytes(torn.read_bytes()[:100])
    pickled = tmp_path / "pickled.npy"
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for path in (torn, pickled, tmp_path / "missing.npy"):
        with pytest.raises(WarehouseError, match="missing or torn"):
            open_array(path)


def test_a_home_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="Point RIBLINE_HOME"):
        Home(tmp_path / "file" / "home").create()
