"""The demo: a synthetic hospital, and everything that Ribline does with it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from flows import stages
from flows.experiment import train_pair
from flows.relabelling import relabel
from flows.stages import Counts
from warehouse_schema.errors import ArgumentError
from warehouse_schema.progress import SILENT, Progress

if TYPE_CHECKING:
    from flows.settings import Settings

RECIPE = "demo"
METHOD = "aals"
FOLD = 0
HOSPITAL_FOLDER = "hospital"
CONFIGURATION = """# Written by `ribline demo`: a home of its own. All data are SYNTHETIC.
home = "."
site_mapping = "synthetic_hospital"
database_url = "sqlite:///{hospital}/hospital.sqlite"
image_folder = "{hospital}/dicom"
box_file = "{hospital}/boxes.json"
# The demo's key comes from its seed, so that it can be repeated. A hospital's key is a secret.
pseudonym_key_file = "restricted/pseudonym.key"
# The night after its last record, so that two demos with one seed agree.
as_of = 2017-01-01T00:00:00Z
recipe = "{recipe}"
size_px = {size_px}
seed = {seed}
"""


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What a demo left behind.

    Attributes:
        settings: Settings of the demo's home.
        run_ids: The supervised run and the AALS run.
        report_path: The HTML report.
    """

    settings: Settings
    run_ids: Sequence[str]
    report_path: Path

    def print_to(self, console: Console) -> None:
        """Print the result table, the report's path and what to ask next."""
        from flows.result_table import print_results

        console.print("\n[bold]Results on the test split[/bold] (SYNTHETIC hospital, fold 0)")
        print_results(console, self.settings, self.run_ids)
        home = self.settings.home
        console.print(f"Report: {self.report_path.resolve()}", highlight=False, soft_wrap=True)
        console.print(
            "Pseudonyms in this home come from a key made of the demo's seed, not from a secret.\n"
            f'Ask it: ribline --home {home} sql "FROM leaderboard"',
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def run_demo(
    *, folder: Path, n_patients: int, seed: int, progress: Progress = SILENT
) -> DemoResult:
    """Build a synthetic hospital and run every stage on it.

    Args:
        folder: New or empty folder; it becomes a home with a ``ribline.toml`` of its own.
        n_patients: Patients of the synthetic hospital.
        seed: Seed of everything; the pseudonym key is derived from it.
        progress: Listener.

    Returns:
        What was made.

    Raises:
        ArgumentError: The folder holds something.
        RiblineError: A stage cannot go on.
    """
    settings = prepare_home(folder=folder, seed=seed)
    write_synthetic_hospital(
        folder=settings.home / HOSPITAL_FOLDER,
        n_patients=n_patients,
        seed=seed,
        n_processes=settings.n_processes,
        progress=progress,
    )
    relabel(settings, progress=progress)
    pair = train_pair(settings, method=METHOD, fold=FOLD, progress=progress)
    run_ids = (pair.supervised_run_id, pair.method_run_id)
    report_path = stages.write_report(settings, run_ids=run_ids, progress=progress)
    return DemoResult(settings=settings, run_ids=run_ids, report_path=report_path)


def prepare_home(*, folder: Path, seed: int, recipe_name: str = RECIPE) -> Settings:
    """Make the demo's home: its folders, its key and its ``ribline.toml``.

    Args:
        folder: New or empty folder.
        seed: Seed in the home's settings; the pseudonym key is derived from it.
        recipe_name: Recipe in the home's settings.

    Raises:
        ArgumentError: The folder holds something, or cannot be made.
    """
    from flows.settings import CONFIGURATION_NAME, load_settings
    from training.recipe import recipe
    from warehouse_schema.home import Home

    refuse_filled_folder("--out", folder)
    home = Home(folder).create()
    key = hashlib.sha256(f"ribline demo {seed}".encode()).hexdigest()
    key_path = home.restricted / "pseudonym.key"
    key_path.touch(mode=0o600)
    key_path.write_text(f"{key}\n", encoding="utf-8")
    text = CONFIGURATION.format(
        hospital=HOSPITAL_FOLDER,
        recipe=recipe_name,
        size_px=recipe(recipe_name).image_size_px,
        seed=seed,
    )
    (folder / CONFIGURATION_NAME).write_text(text, encoding="utf-8")
    return load_settings(home=folder, is_environment_used=False)


def write_synthetic_hospital(
    *,
    folder: Path,
    n_patients: int,
    seed: int,
    is_paper_proportions: bool = False,
    is_records_only: bool = False,
    boxed_share: float | None = None,
    n_processes: int = 1,
    progress: Progress = SILENT,
) -> Counts:
    """Write a synthetic hospital into a new folder; returns its counts.

    ``boxed_share`` is the share of its positives that readers boxed, where it is not the usual.

    Raises:
        ArgumentError: The folder holds something.
    """
    from etl.synthetic_hospital.hospital import write_hospital
    from etl.synthetic_hospital.population import Proportions

    refuse_filled_folder("DIR", folder)
    return stages.counts(
        write_hospital(
            folder=folder,
            n_patients=n_patients,
            seed=seed,
            is_paper_proportions=is_paper_proportions,
            is_records_only=is_records_only,
            n_processes=n_processes,
            progress=progress,
            proportions=None if boxed_share is None else Proportions(boxed_share=boxed_share),
        )
    )


def refuse_filled_folder(argument: str, folder: Path) -> None:
    """Check that a folder is new or empty.

    Raises:
        ArgumentError: It is a file, or holds something.
    """
    if folder.exists() and not folder.is_dir():
        raise ArgumentError(f"{argument}: {folder} is a file. Name a new folder.")
    if folder.is_dir() and any(folder.iterdir()):
        raise ArgumentError(
            f"{argument}: {folder} is not empty. Name a new folder, or remove this one first."
        )
