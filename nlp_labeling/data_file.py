"""Definition and rule files: the shipped ones and a hospital's own, with errors that name a place.

``tomllib`` reads the values; where something is wrong with one, tree-sitter's TOML grammar tells
the line and column at which it stands.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import tree_sitter_toml
from pydantic import BaseModel, ValidationError
from tree_sitter import Language, Node, Parser

from warehouse_schema.errors import ConfigurationError

SHIPPED = Path(__file__).parent
KINDS = ("definitions", "rules")
Key = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class DataFile:
    """One TOML file: its bytes as they are on disk and its values."""

    path: Path
    content: bytes
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The file's name with that of its folder, as messages and hashes give it."""
        return f"{self.path.parent.name}/{self.path.name}"

    def place(self, key: Key) -> str:
        """File, line and column of a key, or of the nearest thing around it that is there."""
        places = dict(_places(self.content))
        while key and key not in places:
            key = key[:-1]
        line, column = places.get(key, (1, 1))
        return f"{self.name}, line {line}, column {column}"

    def error(self, key: Key, message: str) -> ConfigurationError:
        """The error to raise for what stands at a key."""
        return ConfigurationError(f"{self.place(key)}: {message}")

    def checked(self, model: type[Model]) -> Model:
        """The values in the form of a model.

        Raises:
            ConfigurationError: a key is missing or unknown, or a value is not allowed; the first
                such fault is told with its place.
        """
        try:
            return model.model_validate(self.values)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
        key: Key = tuple(fault["loc"])
        name = repr(next((part for part in reversed(key) if isinstance(part, str)), "the file"))
        if fault["type"] == "missing":
            raise self.error(key[:-1], f"{name} is missing.")
        if fault["type"] == "extra_forbidden":
            raise self.error(key, f"unknown key {name}; {_hint(model, str(key[-1]))}")
        got = "" if isinstance(fault["input"], dict | list) else f" is {fault['input']!r}"
        raise self.error(key, f"{name}{got}: {fault['msg'].removeprefix('Value error, ')}.")


def list_files(kind: str, own: Path | None = None) -> list[Path]:
    """The shipped files of a kind and those in ``own``, by name; one of ``own`` replaces its like.

    Raises:
        ConfigurationError: ``own`` is no folder with a definitions or a rules folder in it, or has
            TOML files beside them.
    """
    files = {path.name: path for path in (SHIPPED / kind).glob("*.toml")}
    if own is not None:
        _check_folder(own)
        files |= {path.name: path for path in (own / kind).glob("*.toml")}
    return [files[name] for name in sorted(files)]


def read_file(path: Path) -> DataFile:
    """A TOML file.

    Raises:
        ConfigurationError: it cannot be read, is not UTF-8, or is not TOML (line and column named).
    """
    name = f"{path.parent.name}/{path.name}"
    try:
        content = path.read_bytes()
        values = tomllib.loads(content.decode("utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(f"{name}: cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        raise ConfigurationError(
            f"{name}, line {line}, column {column}: not UTF-8. Save the file as UTF-8."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{name}: not valid TOML: {error}.") from error
    return DataFile(path, content, values)


def _check_folder(own: Path) -> None:
    if not own.is_dir():
        raise ConfigurationError(f"rules_folder: there is no folder {own}.")
    stray = sorted(path.name for path in own.glob("*.toml"))
    if stray or not any((own / kind).is_dir() for kind in KINDS):
        found = f"{stray[0]} lies beside them" if stray else "it has neither"
        raise ConfigurationError(
            f"rules_folder: {own} must hold a folder definitions or rules with TOML files; {found}."
        )


def _hint(model: type[BaseModel], name: str) -> str:
    schema = model.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    known = [name for part in parts for name in part.get("properties", {})]
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else "docs/labeling.md tells the keys."


def _places(content: bytes) -> Iterator[tuple[Key, tuple[int, int]]]:
    """Every key of a TOML text, list places included, with its line and column from 1."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    lines = content.split(b"\n")

    def place(node: Node) -> tuple[int, int]:
        row, column = node.start_point
        return row + 1, len(lines[row][:column].decode("utf-8", errors="replace")) + 1

    def inside(node: Node, key: Key) -> Iterator[tuple[Key, tuple[int, int]]]:
        order = 0
        for child in node.named_children:
            if child.type == "pair":
                name, value = child.named_children[:2]
                inner = key + _names(name)
                yield inner, place(child)
                yield from inside(value, inner)
            elif node.type == "array" and child.type != "comment":
                yield (*key, order), place(child)
                yield from inside(child, (*key, order))
                order += 1

    tree = Parser(Language(tree_sitter_toml.language())).parse(content)
    yield from inside(tree.root_node, ())
    counts: dict[Key, int] = {}
    for node in tree.root_node.named_children:
        if node.type in ("table", "table_array_element"):
            key = _names(node.named_children[0])
            if node.type == "table_array_element":
                counts[key] = counts.get(key, -1) + 1
                yield (*key, counts[key]), place(node)
                key = (*key, counts[key])
            else:
                yield key, place(node)
            yield from inside(node, key)


def _names(node: Node) -> Key:
    if node.type == "dotted_key":
        return tuple(name for child in node.named_children for name in _names(child))
    return ((node.text or b"").decode().strip("\"'"),)
