"""`ribline warehouse verify | repair | maintain | migrate` as a user meets them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from faulty_disk import commit_both

from warehouse_schema.home import Home
from warehouse_schema.store import Store

Ribline = Callable[..., Any]


def test_a_damaged_log_is_named_refused_and_repaired(ribline: Ribline, tmp_path: Path) -> None:
    home = tmp_path / "home"
    store = Store(Home(home))
    commit_both(store, "a")
    whole = ribline("--home", home, "warehouse", "verify")
    assert (whole.code, "everything is as written" in whole.out) == (0, True)
    (home / "warehouse" / "patients" / "_delta_log" / f"{0:020d}.json").write_bytes(b"")
    refused = ribline("--home", home, "sql", "SELECT 1")
    assert refused.code == 5
    assert "ribline warehouse repair" in refused.err
    assert refused.err.count("\n") == 1
    named = ribline("--home", home, "warehouse", "verify")
    assert named.code == 5
    assert "patients: its log entry" in named.out
    repaired = ribline("--home", home, "warehouse", "repair")
    assert repaired.code == 0
    assert "1 repaired" in repaired.out
    rows = ribline("--home", home, "sql", "SELECT patient_id FROM patients", "--format", "csv")
    assert rows.out.split() == ['"patient_id"', '"a"']


def test_maintenance_shows_what_it_did_and_sizes(ribline: Ribline, tmp_path: Path) -> None:
    store = Store(Home(tmp_path / "home"))
    commit_both(store, "a")
    done = ribline("--home", tmp_path / "home", "warehouse", "maintain", "--keep-days", "30")
    assert done.code == 0
    assert "versions" in done.out
    assert "rows: patients" in done.out
    wrong = ribline("--home", tmp_path / "home", "warehouse", "maintain", "--keep-days", "0")
    assert wrong.code == 2
    assert "--keep-days" in wrong.err


def test_a_home_that_is_up_to_date_says_so(ribline: Ribline, tmp_path: Path) -> None:
    commit_both(Store(Home(tmp_path / "home")), "a")
    done = ribline("--home", tmp_path / "home", "warehouse", "migrate")
    assert (done.code, done.out.strip()) == (0, "up to date")
