"""The report: complete, self-contained, escaped, private, and sound in a real browser."""

import itertools
import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
from evaluation.report.records import cohort_flow, label_examples
from fabricated_warehouse import FINDINGS, NOTE_TEXT, rewrite, write_fabricated_warehouse

from evaluation.comparison import compare_runs
from evaluation.evaluate import evaluate_run
from evaluation.report.page import write_report
from evaluation.scored_run import ScoredRun
from warehouse_schema.errors import EvaluationError, WarehouseError
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables.evaluation import EVALUATION_REPORTS
from warehouse_schema.tables.records import NOTES
from warehouse_schema.tables.runs import PREDICTIONS

RUN_IDS = ["supervised-0-1-aa", "aals-0-1-bb"]
DRAWS = 60
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def evaluate(store: Store) -> None:
    for run_id in RUN_IDS:
        evaluate_run(store=store, run_id=run_id, n_bootstrap=DRAWS)
    compare_runs(store=store, run_id_a=RUN_IDS[0], run_id_b=RUN_IDS[1], n_bootstrap=DRAWS)


@pytest.fixture(scope="module")
def evaluated_home(fabricated_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with both runs evaluated and their report written; read only."""
    folder = tmp_path_factory.mktemp("evaluated")
    shutil.copytree(fabricated_home, folder, dirs_exist_ok=True)
    store = Store(Home(folder))
    evaluate(store)
    write_report(store=store, run_ids=RUN_IDS, output_path=folder / "out" / "report.html")
    return folder


@pytest.fixture(scope="module")
def page(evaluated_home: Path) -> str:
    return (evaluated_home / "out" / "report.html").read_text(encoding="utf-8")


def test_the_report_shows_the_numbers_of_the_warehouse(page: str, evaluated_home: Path) -> None:
    rows = Store(Home(evaluated_home)).read(EVALUATION_REPORTS).to_pylist()
    shown = [
        row
        for row in rows
        if row["metric"] in {"auroc", "froc_score"} and "only/valid" not in row["protocol"]
    ]
    assert len(shown) > 10
    for row in shown:
        assert f"{row['value']:.3f}" in page
        assert f"{row['ci_low']:.2f}–{row['ci_high']:.2f}" in page


def test_every_section_is_there_in_order(page: str) -> None:
    sections = re.findall(r'<section id="(\w+)"', page)
    assert sections == [
        *("brief", "results", "curves", "films", "cohort", "labels", "queue", "training"),
        "methods",
    ]
    for words in ("It missed", "ROC curves for Rib fracture", "FROC curves for Clavicle fracture"):
        assert words in page
    for group in ("Found:", "Missed:", "False alarm:"):
        assert group in page
    assert "a later film of the same patient" in page


def test_synthetic_data_are_named_so_in_the_title(page: str) -> None:
    assert re.search(r"<title>SYNTHETIC – ", page)
    assert "<h1>SYNTHETIC: " in page


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    sources = re.findall(r'(?:src|href)="([^"]{0,60})', page)
    assert sources
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert "@import" not in page
    assert "<script" not in page
    assert "default-src 'none'" in unescape(page)


def test_every_picture_has_an_alternative_text(page: str) -> None:
    alts = re.findall(r'<img src="data:image/(?:png|svg\+xml);base64,[^"]+" alt="([^"]*)"', page)
    assert len(alts) == page.count("<img ")
    assert all(len(alt) > 20 for alt in alts)


def test_note_text_is_escaped(page: str) -> None:
    assert "Fall &lt;b&gt;from&lt;/b&gt; ladder." in page
    assert "<b>from</b>" not in page
    assert "<mark>fracture of left 5th rib</mark>" in page


def test_note_text_of_real_patients_is_never_shown_or_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = write_fabricated_warehouse(tmp_path, n_images=96, is_synthetic=False)
    evaluate_run(store=store, run_id=RUN_IDS[1], n_bootstrap=DRAWS)
    tables_read = []
    read = Store.read

    def recorded(self: Store, table: object, **rest: object) -> object:
        tables_read.append(table)
        return read(self, table, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "read", recorded)
    page = write_report(
        store=store, run_ids=RUN_IDS[1:], output_path=tmp_path / "r.html"
    ).read_text()
    assert NOTES not in tables_read
    assert tables_read
    assert "ladder" not in page
    assert "SYNTHETIC" not in page
    assert "rib_fracture.en.fracture_of_rib" in page
    start = NOTE_TEXT.index("fracture")
    assert f"characters {start} to {start + len('fracture of left 5th rib')}" in page


def test_a_real_note_behind_a_synthetic_mention_is_not_shown(store: Store) -> None:
    notes = store.read(NOTES).to_pylist()
    rewrite(store, NOTES, [row | {"is_synthetic": False} for row in notes])
    run = ScoredRun(store=store, run_id=RUN_IDS[1])
    examples = [e for finding in FINDINGS for e in label_examples(store, run, finding)]
    assert any(example.evidence for example in examples)
    assert all(item.excerpt is None for example in examples for item in example.evidence)


def test_one_run_alone_and_without_maps(store: Store, tmp_path: Path) -> None:
    rows = store.read(PREDICTIONS).to_pylist()
    rewrite(store, PREDICTIONS, [row | {"map_path": None, "map_row": None} for row in rows])
    evaluate_run(store=store, run_id=RUN_IDS[0], n_bootstrap=DRAWS)
    page = write_report(store=store, run_ids=RUN_IDS[:1], output_path=tmp_path / "r.html")
    text = page.read_text()
    assert "no boxes or score maps to judge localisation by" in text
    assert "Difference" not in text


def test_the_same_warehouse_gives_the_same_report(evaluated_home: Path, tmp_path: Path) -> None:
    store = Store(Home(evaluated_home))
    again = write_report(store=store, run_ids=RUN_IDS, output_path=tmp_path / "again.html")
    assert again.read_bytes() == (evaluated_home / "out" / "report.html").read_bytes()


def test_cohort_flow_adds_up(evaluated_home: Path) -> None:
    steps = cohort_flow(Store(Home(evaluated_home)), None)
    for before, after in itertools.pairwise(steps):
        assert before.n_kept == after.n_kept + sum(n for _, n in after.dropped)


@pytest.mark.parametrize(
    ("run_ids", "message"),
    [
        ([], "none was named"),
        (["nobody"], "there is no training run nobody"),
        (RUN_IDS[:1], "was not evaluated. Run `ribline evaluate` first"),
    ],
)
def test_runs_that_cannot_be_reported(
    store: Store, tmp_path: Path, run_ids: list[str], message: str
) -> None:
    with pytest.raises(EvaluationError, match=message):
        write_report(store=store, run_ids=run_ids, output_path=tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_a_missing_film_cache_is_one_clear_line(store: Store, tmp_path: Path) -> None:
    evaluate_run(store=store, run_id=RUN_IDS[0], n_bootstrap=DRAWS)
    (store.home.cache / "films.npy").unlink()
    with pytest.raises(WarehouseError, match="Run `ribline ingest-images`"):
        write_report(store=store, run_ids=RUN_IDS[:1], output_path=tmp_path / "r.html")


def test_a_place_that_cannot_be_written(evaluated_home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EvaluationError, match="output_path: the report cannot be written"):
        write_report(
            store=Store(Home(evaluated_home)),
            run_ids=RUN_IDS,
            output_path=tmp_path / "file" / "report.html",
        )


def chromium(page: Path, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    return subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--disable-background-networking", "--enable-logging=stderr"),
            *("--disable-dev-shm-usage", f"--user-data-dir={profile}"),
            *(*options, page.as_uri()),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )


MEASURE = """<script>addEventListener("load", () => {
  const images = [...document.images];
  const loaded = images.filter(image => image.complete && image.naturalWidth > 0);
  const scroll = document.documentElement.scrollWidth;
  parent.postMessage(JSON.stringify(
    {width: innerWidth, scroll, images: images.length, loaded: loaded.length}), "*");
});</script>"""
FRAMES = """<!doctype html><body><script>
const measured = [];
addEventListener("message", event => {
  measured.push(event.data);
  document.documentElement.dataset.measured = JSON.stringify(measured);
});
</script>
<iframe src="measured.html" style="border:0;height:2000px;width:1280px"></iframe>
<iframe src="measured.html" style="border:0;height:2000px;width:390px"></iframe>"""


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed; `make test` installs it")
def test_in_a_browser(page: str, evaluated_home: Path, tmp_path: Path) -> None:
    """No console message, every picture loaded, no horizontal scrolling at 1280 and 390 pixels."""
    report = evaluated_home / "out" / "report.html"
    picture = tmp_path / "page.png"
    shown = chromium(report, tmp_path / "a", f"--screenshot={picture}", "--window-size=1280,2000")
    assert "CONSOLE" not in shown.stderr
    assert picture.stat().st_size > 20_000
    # The page itself forbids scripts; a copy without that rule is measured, in frames, since a
    # headless window has a least width.
    (tmp_path / "measured.html").write_text(
        re.sub(r"<meta http-equiv[^>]+>", "", page).replace("</body>", f"{MEASURE}</body>")
    )
    frames = tmp_path / "frames.html"
    frames.write_text(FRAMES)
    dumped = chromium(frames, tmp_path / "b", "--dump-dom", "--virtual-time-budget=5000")
    found = re.search(r'data-measured="([^"]+)"', dumped.stdout)
    assert found is not None
    figures = [json.loads(text) for text in json.loads(unescape(found.group(1)))]
    assert {row["width"] for row in figures} == {390, 1280}
    for row in figures:
        assert row["scroll"] <= row["width"]
        assert row["images"] == row["loaded"] > 10
