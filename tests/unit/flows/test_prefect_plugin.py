"""Bare deployment names, and Prefect left alone where its shape changed."""

import asyncio
import inspect
from collections.abc import Callable

import pytest
from prefect.client.orchestration import PrefectClient, SyncPrefectClient

from flows.prefect_plugin import accept_bare_names, full_name


def fresh_client() -> type:
    class Client:
        def read_deployment_by_name(self, name: str) -> str:
            """Read it."""
            return name

    return Client


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("train-aals", "train-aals/train-aals"),
        ("train-aals/train-aals", "train-aals/train-aals"),
        ("flow/other", "flow/other"),
        ("", "/"),
        ("a/b/c", "a/b/c"),
    ],
)
def test_full_name(typed: str, asked: str) -> None:
    assert full_name(typed) == asked


def test_bare_name_reaches_the_client_in_full() -> None:
    client = fresh_client()
    assert accept_bare_names(client)
    assert client().read_deployment_by_name("train-aals") == "train-aals/train-aals"
    assert client().read_deployment_by_name(name="a/b") == "a/b"
    assert client.read_deployment_by_name.__doc__ == "Read it."


def test_wrapped_once() -> None:
    client = fresh_client()
    assert accept_bare_names(client)
    method = client.read_deployment_by_name  # type: ignore[attr-defined]
    assert accept_bare_names(client)
    assert client.read_deployment_by_name is method  # type: ignore[attr-defined]


def test_coroutine_stays_one() -> None:
    class Client:
        async def read_deployment_by_name(self, name: str) -> str:
            return name

    assert accept_bare_names(Client)
    assert asyncio.run(Client().read_deployment_by_name("x")) == "x/x"


@pytest.mark.parametrize(
    "method",
    [
        None,
        "not callable",
        lambda self: self,
        lambda self, flow_name, deployment_name: (self, flow_name, deployment_name),
    ],
)
def test_other_shape_is_left_untouched(method: Callable[..., object] | str | None) -> None:
    client = type("Client", (), {} if method is None else {"read_deployment_by_name": method})
    before = client.__dict__.get("read_deployment_by_name")
    assert not accept_bare_names(client)
    assert client.__dict__.get("read_deployment_by_name") is before


@pytest.mark.parametrize("client", [PrefectClient, SyncPrefectClient])
def test_installed_prefect_has_the_expected_shape(client: type) -> None:
    method = inspect.unwrap(client.read_deployment_by_name)  # type: ignore[attr-defined]
    assert list(inspect.signature(method).parameters) == ["self", "name"]
