"""The store of the home folder in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse_schema.errors import ConfigurationError

if TYPE_CHECKING:
    from flows.settings import Settings
    from warehouse_schema.store import Store


def open_store(
    settings: Settings, *, is_new_allowed: bool = False, is_checked: bool = True
) -> Store:
    """The store of the home folder.

    Args:
        settings: Values in force.
        is_new_allowed: True for stages that fill an empty home.
        is_checked: False opens a damaged one, to look at or to repair.

    Raises:
        ConfigurationError: The home holds no warehouse, or cannot be made.
    """
    from warehouse_schema.home import Home
    from warehouse_schema.store import Store

    home = Home(settings.home)
    if not is_new_allowed and not home.warehouse.is_dir():
        raise ConfigurationError(
            f"home: there is no warehouse in {settings.home} (from {settings.origin('home')}). "
            "Name the home with --home or RIBLINE_HOME, or fill one with `ribline extract`."
        )
    return Store(home, is_checked=is_checked)
