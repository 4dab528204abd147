"""Commands that repeat the paper's tables and figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from flows.commands.context import console, progress, settings_of

reproduce = typer.Typer(no_args_is_help=True, help="Repeat the paper's experiments.")
OWN = "own"

Profile = Annotated[
    str,
    typer.Option(
        help="cpu or gpu: a synthetic hospital of that size in --out. own: the home and recipe "
        "in force."
    ),
]
Home = Annotated[Path, typer.Option("--out", metavar="DIR", help="Home of the synthetic hospital.")]
Rows = Annotated[
    list[str] | None,
    typer.Option("--row", "--method", help="Row of the table; repeat it. Default: all."),
]
Seeds = Annotated[
    list[int] | None,
    typer.Option("--seed", min=0, help="Seed; repeat it. Default: those of the profile."),
]
Fold = Annotated[int, typer.Option(min=0, help="Cross-validation fold.")]
Patients = Annotated[
    int | None, typer.Option("--patients", min=1, help="Patients of a new hospital.")
]
DEFAULT_HOME = Path("reproduction-home")


def _command(name: str, about: str) -> None:
    """One command for one experiment: its runs, its table, its page."""

    def command(
        context: typer.Context,
        *,
        profile: Profile = "cpu",
        out: Home = DEFAULT_HOME,
        row: Rows = None,
        seed: Seeds = None,
        fold: Fold = 0,
        patients: Patients = None,
    ) -> None:
        from flows import reproduction
        from flows.reproduction_display import print_outcome

        with progress() as display:
            settings = (
                settings_of(context)
                if profile == OWN
                else reproduction.prepare_profile_home(
                    folder=out, profile=profile, n_patients=patients, progress=display
                )
            )
            done = reproduction.reproduce(
                settings,
                name=name,
                rows=row,
                seeds=seed or range(reproduction.default_seeds(profile, name)),
                fold=fold,
                tell=lambda run: console().print(
                    f"seed {run.seed}  {run.row}  {run.run_id}"
                    f"{'  (found)' if run.is_found else ''}",
                    highlight=False,
                ),
                progress=display,
            )
        print_outcome(console(), done.outcome)
        _print_place(done.page_path)

    command.__doc__ = f"{about}\n\nStop it at any time: the same command goes on where it was."
    _add(name, command)


def _add(name: str, command: Callable[..., None]) -> None:
    reproduce.command(name)(command)


def _print_place(path: Path) -> None:
    console().print(f"Page: {path.resolve()}", highlight=False, soft_wrap=True)


_command("table1", "All methods: AUROC and FROC, beside the paper's numbers.")
_command("table2", "AALS at four centres t of the sharpening.")
_command("table3", "AALS at four strengths a0 of the sharpening.")


@reproduce.command("figure2")
def figure2(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="HTML file to write.")] = Path(
        "figure2.html"
    ),
) -> None:
    """The sharpening function, drawn from the code that training runs. It needs no data."""
    from flows.stages.reproduction import write_sharpening_page

    _print_place(write_sharpening_page(output_path=out))


_command("figure3", "AALS with 0, 20, 60 and 100 % of the films of P.")
_command("figure4", "The same films as every method with score maps sees them.")
_command("figure5", "FROC curves of every method with score maps.")
