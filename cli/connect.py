"""The one place where a command gets its client: URLs, token and signer from home and options."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import update_wrapper
from ssl import SSLContext, create_default_context
from typing import Any

import msgspec

from cli.home import NodeHome
from cli.session import Session
from salus.client import Client
from salus.keys import Signer


@asynccontextmanager
async def connect(
    session: Session, *, sign: bool = False, timeout_s: float | None = None
) -> AsyncIterator[Client]:
    """A client for the node that the options name; with `sign`, holding the key of --as."""
    target = session.home.target(session.node)
    signer: Signer | None = None
    if sign:
        from cli.keyfiles import signer_of

        signer = signer_of(session, target.home)
    seen = session.home.seen
    client = Client(
        target.urls,
        ssl=None if session.home.is_testnet else own_tls(target.home),
        signer=signer,
        token=session.token(target),
        timeout_s=session.timeout_s if timeout_s is None else timeout_s,
        seen_height=seen.load() if seen else 0,
    )
    try:
        async with client:
            yield client
    finally:
        if seen:
            seen.save(client.seen_height)


def own_tls(home: NodeHome | None) -> SSLContext | None:
    """To a node whose home is at hand: its own certificate is trusted, whoever issued it."""
    certificate = None if home is None else home.api_certificate()
    return None if certificate is None else create_default_context(cafile=certificate)


def waits(function: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
    """A command whose body is a coroutine."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return asyncio.run(function(*args, **kwargs))

    return update_wrapper(wrapper, function)


def plain(form: object) -> Any:
    """An answer of the API as plain data, as --json prints it."""
    return msgspec.to_builtins(form)


def short(identifier: str) -> str:
    """An id for people: the ends are enough to tell two apart."""
    return identifier if len(identifier) <= 16 else f"{identifier[:8]}…{identifier[-4:]}"
