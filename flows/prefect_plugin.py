"""Prefect plugin: ``prefect deployment run train-aals`` means ``train-aals/train-aals``.

Prefect asks for FLOW/DEPLOYMENT and calls its client's ``read_deployment_by_name`` with what was
typed. The hook is supported; the wrapped method is not public, so Prefect is left untouched, and
says what it always said, where its shape is not the expected one.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from prefect.plugins import HookContext, SetupResult, register_hook

METHOD = "read_deployment_by_name"
PARAMETERS = ["self", "name"]


@register_hook
def setup_environment(*, ctx: HookContext) -> SetupResult | None:
    """Let Prefect's clients find a deployment by its bare name, and keep telemetry off."""
    from prefect.client.orchestration import PrefectClient, SyncPrefectClient

    for client in (PrefectClient, SyncPrefectClient):
        if not accept_bare_names(client):
            ctx.logger_factory("ribline").warning(
                "Prefect %s has another shape than expected: give deployments as NAME/NAME.",
                ctx.prefect_version,
            )
    return SetupResult(env={"DO_NOT_TRACK": "1"}, note="bare deployment names")


def accept_bare_names(client: type) -> bool:
    """Wrap a client's method so that NAME means NAME/NAME.

    Args:
        client: Prefect's client class; changed in place, once.

    Returns:
        False where the class has no such method with the expected parameters; it is untouched.
    """
    method = getattr(client, METHOD, None)
    if not callable(method):
        return False
    if getattr(method, "is_bare_name_accepted", False):
        return True
    if list(inspect.signature(method).parameters) != PARAMETERS:
        return False
    setattr(client, METHOD, _with_full_name(method))
    return True


def full_name(name: str) -> str:
    """FLOW/DEPLOYMENT; a bare name stands for both."""
    return name if "/" in name else f"{name}/{name}"


def _with_full_name(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def wrapped(self: object, name: str) -> Any:
        return method(self, full_name(name))

    wrapped.is_bare_name_accepted = True  # type: ignore[attr-defined]
    return wrapped
