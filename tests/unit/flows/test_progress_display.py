"""Progress on a screen and in a file."""

import io

import pytest
from rich.console import Console

from flows.progress_display import LineProgress, figures_text, progress_display


def lines_of(*, seconds: float = 0.0) -> tuple[LineProgress, list[str]]:
    lines: list[str] = []
    return LineProgress(lines.append), lines


def test_a_stage_is_a_line_at_its_start_and_end() -> None:
    progress, lines = lines_of()
    progress.start("extract", 1200)
    progress.advance(1200, loss=0.5)
    progress.finish()
    assert lines[0] == "extract: started, 1,200 to do"
    assert lines[1].startswith("extract: done, 1,200 in ")
    assert lines[1].endswith("/s loss 0.5")
    assert len(lines) == 2


def test_an_unknown_total_is_not_invented() -> None:
    progress, lines = lines_of()
    progress.start("link", None)
    progress.finish()
    assert lines[0] == "link: started"
    assert lines[1].startswith("link: done in ")


def test_a_new_stage_ends_the_one_before() -> None:
    progress, lines = lines_of()
    progress.start("a", 1)
    progress.start("b", 1)
    assert [line.split(",")[0].split(" in ")[0] for line in lines] == [
        "a: started",
        "a: done",
        "b: started",
    ]


def test_a_long_stage_speaks_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, *(float(second) for second in range(4, 400, 2))])
    monkeypatch.setattr("flows.progress_display.time.monotonic", lambda: next(clock))
    progress, lines = lines_of()
    progress.start("train", 10)
    for _ in range(10):
        progress.advance(1, loss=0.25)
    assert 2 <= len(lines) <= 6
    assert "of 10" in lines[1]
    assert "loss 0.25" in lines[1]


def test_progress_without_a_stage_is_ignored() -> None:
    progress, lines = lines_of()
    progress.advance(3)
    progress.finish()
    assert lines == []


def test_figures() -> None:
    figures: dict[str, float | str] = {"epoch": "2/5", "validation_auroc": 0.87654}
    assert figures_text(figures) == "epoch 2/5  validation AUROC 0.8765"


def test_bars_on_a_terminal_show_stage_rate_and_figures() -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=140)
    with progress_display(screen) as progress:
        progress.start("ingest-images", 4)
        progress.advance(4, loss=0.5)
        progress.finish()
        progress.start("link", None)
        progress.finish()
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "ingest-images" in shown
    assert "4/4" in shown
    assert "loss 0.5" in shown
    assert "link" in shown


def test_plain_lines_elsewhere() -> None:
    file = Console(file=io.StringIO(), width=40)
    with progress_display(file) as progress:
        progress.start("a rather long name of a stage [red]", 4)
        progress.finish()
    shown = file.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert shown[0] == "a rather long name of a stage [red]: started, 4 to do"
