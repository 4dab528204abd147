"""Self-contained HTML pages in one design: templates, numbering, writing in one step."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from warehouse_schema.errors import EvaluationError


class Numbering:
    """Numbers of figures and tables in the order in which a page asks for them."""

    def __init__(self) -> None:
        self._last = {"Figure": 0, "Table": 0}

    def figure(self) -> str:
        """The next figure's number."""
        return self._next("Figure")

    def table(self) -> str:
        """The next table's number."""
        return self._next("Table")

    def _next(self, kind: str) -> str:
        self._last[kind] += 1
        return f"{kind}\u00a0{self._last[kind]}."


def render_page(template: str, **values: Any) -> str:
    """A page from a template of this folder; a value that is missing raises at once."""
    environment = Environment(
        loader=PackageLoader("evaluation.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(numbering=Numbering(), **values)


def check_place(path: Path) -> None:
    """Find out that a page cannot be written before the work for it is done.

    Raises:
        EvaluationError: The folder cannot be made or written to.
    """
    draft = _draft(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.touch()
    except OSError as error:
        raise _unwritable(error) from None
    finally:
        with suppress(OSError):
            draft.unlink()


def write_page(path: Path, text: str) -> Path:
    """Write a page; an older one stays whole until the new one stands.

    Returns:
        ``path``.

    Raises:
        EvaluationError: The file cannot be written.
    """
    draft = _draft(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise _unwritable(error) from None
    finally:
        with suppress(OSError):
            draft.unlink()
    return path


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.draft")


def _unwritable(error: OSError) -> EvaluationError:
    return EvaluationError(
        f"output_path: the report cannot be written ({error.strerror}). "
        "Name a file in a folder you may write to."
    )
