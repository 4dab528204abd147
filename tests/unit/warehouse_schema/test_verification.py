"""Damage to manifests and logs is named with its way back, and repaired."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from deltalake import DeltaTable
from faulty_disk import commit_both, names_in

from warehouse_schema.errors import WarehouseError
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables.records import PATIENTS
from warehouse_schema.verification import repair, verify


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(Home(tmp_path / "home"))
    commit_both(store, "a")
    commit_both(store, "b")
    return store


def empty(path: Path) -> None:
    path.write_bytes(b"")


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edit(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))


def remove(path: Path) -> None:
    path.unlink()


HARMS: tuple[Callable[[Path], None], ...] = (empty, tear, edit, remove)
FILES = {
    "log": "warehouse/patients/_delta_log/00000000000000000001.json",
    "manifest": "warehouse/_manifests/00000002.json",
    "old manifest": "warehouse/_manifests/00000001.json",
    "format": "warehouse/_manifests/format",
}


CASES = [
    (file, harm)
    for file in FILES
    for harm in HARMS
    # A home without the file, or of another format, is a whole one.
    if (file, harm) not in {("format", edit), ("format", remove)}
]


@pytest.mark.parametrize(("file", "harm"), CASES)
def test_a_damaged_file_is_named_and_made_whole(
    store: Store, file: str, harm: Callable[[Path], None]
) -> None:
    harm(store.home.root / FILES[file])
    if (file, harm) == ("manifest", remove):
        # Publishing it again from its copy is the first thing that opening a home does.
        assert names_in(Store(store.home)) == ["a", "b"]
        return
    damages = verify(Store(store.home, is_checked=False) if file != "format" else store).damages
    assert len(damages) == 1
    assert damages[0].is_repairable
    assert "ribline warehouse repair" in damages[0].way_back
    if file in {"log", "manifest"}:
        with pytest.raises(WarehouseError, match="ribline warehouse repair"):
            Store(store.home)
    assert repair(store) == damages
    whole = Store(store.home)
    assert verify(whole).damages == ()
    assert names_in(whole) == ["a", "b"]
    assert whole.read(PATIENTS, at=1)["patient_id"].to_pylist() == ["a"]
    commit_both(whole, "c")
    assert names_in(Store(store.home)) == ["a", "b", "c"]
    assert DeltaTable(store.table_folder(PATIENTS)).to_pyarrow_table().num_rows == 3


def test_every_log_lost_is_made_again_from_the_manifest(store: Store) -> None:
    for path in store.table_folder(PATIENTS).joinpath("_delta_log").iterdir():
        path.unlink()
    assert len(repair(Store(store.home, is_checked=False))) == 1
    assert DeltaTable(store.table_folder(PATIENTS)).to_pyarrow_table().num_rows == 2
    assert verify(Store(store.home)).damages == ()


@pytest.mark.parametrize("harm", [tear, remove])
def test_a_damaged_data_file_is_named_and_not_made_up(
    store: Store, harm: Callable[[Path], None]
) -> None:
    name = next(iter(store.manifest().tables["patients"].files))
    harm(store.table_folder(PATIENTS) / name)
    (damage,) = verify(store).damages
    assert damage.where == f"patients/{name}"
    assert not damage.is_repairable
    assert repair(store) == ()


@pytest.mark.parametrize("content", [b"", b'{"add": {"path'])
def test_an_entry_of_an_interrupted_commit_is_no_damage_and_goes(
    store: Store, content: bytes
) -> None:
    log = store.table_folder(PATIENTS) / "_delta_log"
    (log / "00000000000000000002.json").write_bytes(content)
    commit_both(Store(store.home), "c")
    assert names_in(Store(store.home)) == ["a", "b", "c"]
    assert verify(Store(store.home)).damages == ()
    assert DeltaTable(store.table_folder(PATIENTS)).to_pyarrow_table().num_rows == 3
