"""`SyncClient`: the same calls without `await`, for scripts and notebooks.

It owns an event loop and runs one call at a time in it; not for use inside a running loop.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Any, Self

from salus.client import Client
from salus.client_events import ChainEvent, Checkpoint


class SyncClient:
    """Every coroutine method of `Client` as a plain method with the same arguments."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        self._runner = asyncio.Runner()
        self.client = Client(*args, **settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(Client, name, None)
        if name.startswith("_") or not iscoroutinefunction(method):
            raise AttributeError(name)

        def call(*args: Any, **settings: Any) -> Any:
            return self._runner.run(method(self.client, *args, **settings))

        return call

    def events(
        self,
        kind: str | None = None,
        *,
        after: str | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> Iterator[ChainEvent]:
        """Blocks until the next event; end it by leaving the loop."""
        events = self.client.events(kind, after=after, checkpoint=checkpoint)
        try:
            while True:
                yield self._runner.run(_next(events.__anext__))
        finally:
            self._runner.run(_next(events.aclose))

    def close(self) -> None:
        self._runner.run(self.client.close())
        self._runner.close()


async def _next(step: Callable[[], Awaitable[Any]]) -> Any:
    return await step()
