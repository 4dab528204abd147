"""200 names, numbers, phones and addresses go in everywhere; none comes out anywhere.

The hospital is not synthetic: the report then shows no note text. What restricted/ holds is not
searched; everything else is, the outputs of every command and Prefect's database included.
"""

from __future__ import annotations

import base64
import gzip
import importlib
import inspect
import io
import json
import logging
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from canaries import CANARIES, PEOPLE, CanarySearch
from canary_hospital import write_canary_hospital
from pydantic import BaseModel

import etl.records.records
import training.train
from flows.command_line import main
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables.labels import COHORT, IMAGE_LABELS
from warehouse_schema.tables.runs import QUARANTINE

SEARCH = CanarySearch()
KEY = "canary key, long enough"
SETTINGS = """
home = "../home"
site_mapping = "site.toml"
database_url = "sqlite:///hospital.sqlite"
image_folder = "dicom"
box_file = "boxes.json"
findings = "rib_fracture"
as_of = 2015-01-01T00:00:00Z
size_px = 64
n_processes = 1
n_folds = 3
n_bootstrap = 100
recipe = "demo"
[recipe_overrides]
n_epochs = 1
step2_n_epochs = 1
passes_per_epoch = 1
image_size_px = 64
crop_px = 64
batch_size = 8
n_cpu_threads = 1
"""


class Site:
    """A hospital, a home, a log of everything at DEBUG, and what commands printed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hospital = folder / "hospital"
        self.home = folder / "home"
        self.out = folder / "out"
        self.out.mkdir()
        write_canary_hospital(self.hospital)
        (self.hospital / "ribline.toml").write_text(SETTINGS)

    def store(self) -> Store:
        return Store(Home(self.home))

    def found(self) -> dict[str, set[str]]:
        """Canaries anywhere but in the hospital and in restricted/."""
        places = [path for path in self.home.iterdir() if path.name != "restricted"]
        return SEARCH.in_tree(*places, self.out)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("canaries"))
    handler = logging.FileHandler(site.out / "debug.log", encoding="utf-8")
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    for name in ("sqlalchemy.engine", "sqlalchemy.pool", "pydicom", "urllib3"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RIBLINE_CONFIG", str(site.hospital / "ribline.toml"))
        patch.setenv("RIBLINE_PSEUDONYM_KEY", KEY)
        patch.setenv("OMP_NUM_THREADS", "1")
        yield site
    root.removeHandler(handler)
    handler.close()
    root.setLevel(before)


@pytest.fixture
def run(site: Site, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """Runs `ribline ARGUMENTS` and keeps what it printed where the search looks."""

    def run(*arguments: str | Path, code: int | None = 0, **variables: str) -> str:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["ribline", *map(str, arguments)])
            for name, value in variables.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as exit_:
                main()
        out, err = capfd.readouterr()
        with (site.out / "printed.txt").open("a", encoding="utf-8") as file:
            file.write(f"{out}\n{err}\n")
        assert code is None or int(exit_.value.code or 0) == code, out + err
        return out + err

    return run


@pytest.mark.parametrize("word", [PEOPLE[0].name, PEOPLE[1].name, PEOPLE[7].number])
def test_the_search_finds_a_canary_in_every_disguise(tmp_path: Path, word: str) -> None:
    (tmp_path / "plain").write_bytes(b"\0\xff" + word.upper().encode() + b"\0")
    (tmp_path / "wide").write_bytes(b"\0" + word.encode("utf-16-le"))
    (tmp_path / "json").write_text(json.dumps({"a": [word]}))
    (tmp_path / "gz").write_bytes(gzip.compress(word.encode()))
    for shift in range(3):
        encoded = base64.b64encode(b"x" * (20 + shift) + word.encode() + b"y" * 20)
        (tmp_path / f"base64-{shift}").write_bytes(encoded)
    with sqlite3.connect(tmp_path / "db") as connection:
        connection.execute("CREATE TABLE t (a)")
        connection.execute("INSERT INTO t VALUES (?)", [word])
    connection.close()
    assert len(SEARCH.in_tree(tmp_path)) == 8


def test_everything_that_works(site: Site, run) -> None:
    for command in ("doctor", "extract", "ingest-images", "label"):
        run(command)
    run("import-boxes", site.hospital / "boxes.json")
    for command in ("annotation-sample", "build-cohort", "train", "predict", "evaluate"):
        run(command)
    run("report", "--out", site.out / "report.html")
    store = site.store()
    positive = store.read(IMAGE_LABELS, where={"label": "positive"})["image_id"].to_pylist()
    run("explain", positive[0])
    run("explain", positive[0], "--html", site.out / "why.html")
    run("review-sample", site.out / "review.csv", "--n", "5")
    run("diff-labels", "1")
    run("sql", "--versions")
    for table in ("patients", "images", "quarantine", "note_mentions", "label_evidence"):
        run("sql", f"SELECT * FROM {table}", "--format", "json")
    run("export-dicom", site.out / "export", "--with-burnt-in-text")
    films = sorted((site.hospital / "dicom").rglob("*.dcm"))[:12]
    run("predict", *films, site.hospital / "boxes.json", "--any-view")
    assert len(list((site.home / "restricted" / "results").rglob("*_report.dcm"))) >= 6
    run("model-card")
    for table in ("film_results", "quarantine"):
        run("sql", f"SELECT * FROM {table}", "--format", "json")
    assert len(list((site.out / "export").rglob("*.dcm"))) >= 40
    assert set(store.read(COHORT)["subset"].to_pylist()) >= {"R", "P", "N"}
    assert store.read(QUARANTINE).num_rows >= 15, "the bad rows and files were met"
    assert site.found() == {}
    restricted = set().union(*SEARCH.in_tree(site.home / "restricted").values())
    assert len(restricted) >= 0.95 * len(CANARIES), "the search sees what is there"


class _Row(BaseModel):
    age: int


def _raise_with(kind: str) -> None:
    person = PEOPLE[9]
    if kind == "pydantic":
        _Row.model_validate({"age": f"{person.name}, {person.phone}"})
    if kind == "arrow":
        import pyarrow as pa

        pa.array([person.name]).cast(pa.int64())
    raise RuntimeError(f"row of {person.name}, {person.number}, {person.address}")


@pytest.mark.parametrize("kind", ["pydantic", "arrow", "any"])
def test_errors_inside_stages_show_a_place_and_no_value(
    run, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        _raise_with(kind)

    monkeypatch.setattr(etl.records.records, "check_code", fail)
    assert "internal error" in run("extract", "--full", code=11)
    monkeypatch.setattr("etl.films.image_rows._age", fail)
    assert "internal error" in run("ingest-images", code=11)
    monkeypatch.setattr(training.train, "load_run_inputs", fail)
    assert "test_canaries.py:" in run("train", "--seed", "5", code=11)


def test_wrong_settings_files_and_arguments(site: Site, run, tmp_path: Path) -> None:
    person = PEOPLE[11]
    run("extract", code=3, RIBLINE_DATABASE_URL="sqlite:////nowhere/x.sqlite")
    run("extract", code=2, RIBLINE_PSEUDONYM_KEY="short")
    run("extract", code=2, RIBLINE_SITE_MAPPING="nowhere")
    broken = tmp_path / "site.toml"
    text = (site.hospital / "site.toml").read_text()
    broken.write_text(text.replace('text = "body"', 'text = "nothing"'))
    assert "has no column nothing" in run("extract", code=3, RIBLINE_SITE_MAPPING=str(broken))
    boxes = tmp_path / "boxes.json"
    boxes.write_text(f'{{"images": [{{"file_name": "{person.name}"')
    run("import-boxes", boxes, code=4)
    boxes.write_text(
        (site.hospital / "boxes.json").read_text().replace("rib_fracture", person.name)
    )
    run("import-boxes", boxes)
    notes = tmp_path / "notes.csv"
    notes.write_text(f"note_id,wrong\n{person.number},{person.name}\n")
    run("label-notes", notes, tmp_path / "mentions.csv", code=4)
    run("forget-patient", person.number, code=2)
    run("sql", "SELECT CAST(reason AS INTEGER) FROM quarantine", code=6)
    run("explain", "I-unknown", code=2)


def test_a_database_that_fails_on_a_row(site: Site, run, tmp_path: Path) -> None:
    """A view whose column cannot be computed: the driver's message would quote it."""
    shutil.copy(site.hospital / "hospital.sqlite", tmp_path / "hospital.sqlite")
    with sqlite3.connect(tmp_path / "hospital.sqlite") as connection:
        connection.execute("ALTER TABLE note RENAME TO old_note")
        columns = "note_no, no, visit_no, json(body) AS body, kind, status, written, accession"
        connection.execute(f"CREATE VIEW note AS SELECT {columns} FROM old_note")
    connection.close()
    shown = run("extract", code=3, RIBLINE_DATABASE_URL=f"sqlite:///{tmp_path}/hospital.sqlite")
    assert "reading table note failed (OperationalError). Nothing was written" in shown
    assert site.found() == {}


def test_a_forgotten_patient_by_file_and_by_standard_input(
    site: Site, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "opt-out.txt"
    file.write_text(f"{PEOPLE[20].number}\n\n{PEOPLE[21].number}\n")
    assert "checkpoints stand" in run("forget-patient", file)
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PEOPLE[30].number}\n"))
    run("forget-patient", "-")
    gone = CanarySearch(tuple(w for n in (20, 21, 30) for w in PEOPLE[n].words))
    assert gone.in_tree(site.home) == {}, "not even in restricted/"
    counts = run("extract")
    assert "opted out" in counts
    run("ingest-images")
    assert gone.in_tree(site.home) == {}, "the next night does not bring them back"


def test_prefect_keeps_none(site: Site, run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A night that works and a night that fails, on a server with a database of its own."""
    from prefect.settings import PREFECT_HOME, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    from flows.nightly_relabel import nightly_relabel

    def fail(*_: object, **__: object) -> None:
        _raise_with("any")

    monkeypatch.setenv("PREFECT_LOGGING_EXTRA_LOGGERS", "sqlalchemy,pydicom")
    with (
        temporary_settings({PREFECT_HOME: site.out / "prefect"}),
        prefect_test_harness(server_startup_timeout=120),
    ):
        counts = nightly_relabel()
        assert counts["extract"]["n_patients"] >= 40
        monkeypatch.setattr("etl.films.image_rows._age", fail)
        state = nightly_relabel(return_state=True)
        assert state.is_failed()
        (site.out / "state.txt").write_text(repr(state) + str(state.message))
        _copy_prefects_database(site.out / "prefect.db")
    assert b"internal error" in (site.out / "prefect.db").read_bytes()
    assert (site.out / "debug.log").stat().st_size > 1000
    assert site.found() == {}, "by this or by any test before it"


def _copy_prefects_database(target: Path) -> None:
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL

    url = str(PREFECT_API_DATABASE_CONNECTION_URL.value())
    source = sqlite3.connect(url.partition("///")[2])
    copy = sqlite3.connect(target)
    source.backup(copy)
    source.close()
    copy.close()


STAGE_MODULES = {
    "extract": (
        "etl.records.extraction",
        "etl.records.records",
        "etl.records.record_values",
        "etl.records.source_database",
    ),
    "ingest-images": (
        "etl.films.image_ingest",
        "etl.films.image_rows",
        "etl.films.pixel_cache",
        "etl.pseudonym",
    ),
    "label": ("etl.cohorts.linkage", "nlp_labeling.mining", "nlp_labeling.evidence"),
    "build-cohort": ("etl.cohorts.cohort", "etl.cohorts.fold_assignment"),
    "train": ("training.train", "training.run_inputs", "training.film_dataset"),
    "evaluate": ("evaluation.evaluate", "evaluation.scored_run", "evaluation.subgroups"),
    "report": ("evaluation.report", "evaluation.report_records", "evaluation.report_films"),
    "export-dicom": ("etl.privacy.dicom_export", "etl.privacy.dicom_profile"),
}


def _functions() -> list[tuple[str, str, str]]:
    """Every function and method of the stages: command, module, name."""
    found = []
    for command, modules in STAGE_MODULES.items():
        for module in modules:
            members = vars(importlib.import_module(module))
            for name, member in members.items():
                if getattr(member, "__module__", None) != module:
                    continue
                if inspect.isfunction(member):
                    found.append((command, module, name))
                if inspect.isclass(member):
                    found += [
                        (command, module, f"{name}.{method}")
                        for method, each in vars(member).items()
                        if inspect.isfunction(each)
                    ]
    return found


@pytest.mark.soak
def test_no_function_that_fails_lets_its_values_out(
    site: Site, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each function of the stages fails once with canaries in its message."""
    if not (site.home / "warehouse").is_dir():
        test_everything_that_works(site, run)

    def fail(*_: object, **__: object) -> None:
        _raise_with("any")

    functions = _functions()
    assert len(functions) > 150
    n_failed = 0
    for number, (command, module, name) in enumerate(functions):
        arguments = [command]
        if command == "export-dicom":
            arguments.append(str(site.out / f"export-{number}"))
        with monkeypatch.context() as patch:
            patch.setattr(f"{module}.{name}", fail)
            n_failed += "internal error" in run(*arguments, code=None)
    assert n_failed > 100
    assert site.found() == {}
