"""A bit that turns in a data file is found before any row of the file is used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from faulty_disk import patients

from warehouse_schema.errors import RiblineError
from warehouse_schema.home import Home
from warehouse_schema.query import run_query
from warehouse_schema.store import Store
from warehouse_schema.tables.records import PATIENTS
from warehouse_schema.verification import verify


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


@pytest.mark.parametrize("n_flips", [100, pytest.param(1000, marks=pytest.mark.soak)])
def test_no_flipped_bit_is_silent(tmp_path: Path, n_flips: int) -> None:
    store = Store(Home(tmp_path / "home"))
    with store.commit(stage="x") as commit:
        commit.replace(PATIENTS, patients(*(f"p{n:05d}" for n in range(3000))))
    (path,) = store.table_folder(PATIENTS).glob("*.parquet")
    generator = np.random.default_rng(7)
    for number, bit in enumerate(generator.integers(0, path.stat().st_size * 8, n_flips).tolist()):
        flip(path, bit)
        with pytest.raises(RiblineError, match="is altered"):
            if number % 2:
                Store(store.home).read(PATIENTS, columns=["patient_id"])
            else:
                run_query(Store(store.home), "SELECT count(*) FROM patients")
        flip(path, bit)
    assert Store(store.home).read(PATIENTS).num_rows == 3000


@pytest.mark.parametrize("seed", range(3))
def test_a_flip_in_a_manifest_or_log_entry_is_found(tmp_path: Path, seed: int) -> None:
    store = Store(Home(tmp_path / "home"))
    with store.commit(stage="x") as commit:
        commit.replace(PATIENTS, patients("a", "b"))
    generator = np.random.default_rng(seed)
    log = store.table_folder(PATIENTS) / "_delta_log"
    paths = [store.home.warehouse / "_manifests" / "00000001.json", *log.glob("*.json")]
    for path in paths:
        for bit in generator.integers(0, path.stat().st_size * 8, 10).tolist():
            flip(path, bit)
            assert verify(Store(store.home, is_checked=False)).damages, (path.name, bit)
            flip(path, bit)
    assert verify(Store(store.home)).damages == ()


def test_a_changed_row_writes_nothing_on_top_of_a_damaged_file(tmp_path: Path) -> None:
    store = Store(Home(tmp_path / "home"))
    with store.commit(stage="x") as commit:
        commit.replace(PATIENTS, patients("a", "b"))
    (path,) = store.table_folder(PATIENTS).glob("*.parquet")
    flip(path, 400)
    other = Store(store.home)
    with pytest.raises(RiblineError, match="altered"), other.commit(stage="x") as commit:
        commit.upsert(PATIENTS, patients("c"))
    assert other.manifest().version == 1


def test_a_page_is_protected_by_a_checksum_for_other_engines(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    store = Store(Home(tmp_path / "home"))
    with store.commit(stage="x") as commit:
        commit.replace(PATIENTS, patients(*(f"p{n:05d}" for n in range(3000))))
    (path,) = store.table_folder(PATIENTS).glob("*.parquet")
    column = pq.read_metadata(path).row_group(0).column(0)
    flip(path, 8 * (column.data_page_offset + column.total_compressed_size // 2))
    with pytest.raises((OSError, pa.ArrowInvalid), match="CRC"):
        pq.read_table(path, page_checksum_verification=True)
