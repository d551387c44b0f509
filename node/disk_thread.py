"""A thread of its own for one writer: no other work can stand before a vote or a block.

asyncio's common pool also serves peers that fetch blocks; a few slow reads there would hold up
the journal's sync, and with it every vote (B26).
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class DiskThread:
    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"salus-{name}")

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """In the order of the calls."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: work(*args, **kwargs))

    def close(self) -> None:
        """Waits for what is under way; what has not begun is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)
