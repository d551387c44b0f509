"""The event loop of all tests: it ends when what was closed on it is gone.

Whoever closes a TLS connection does not wait until the other end has said goodbye too. On a quiet machine it has
before the test's loop ends. Else the socket would be found open much later, in a test that never had it.
"""

import asyncio
from collections.abc import Callable

TURNS = 3  # until a transport that was aborted has told its protocol and closed its socket


class TidyLoop(asyncio.SelectorEventLoop):
    def close(self) -> None:
        if not (self.is_closed() or self.is_running()):
            for transport in tuple(self._transports.values()):  # type: ignore[attr-defined]
                if is_given_up(transport):
                    transport.abort()
            for _ in range(TURNS):
                self.run_until_complete(asyncio.sleep(0))
        super().close()


def is_given_up(transport: asyncio.Transport) -> bool:
    """Closed by its user; if what speaks TLS over it still waits, the transport itself is not closing."""
    above = getattr(transport.get_protocol(), "_app_transport", None)
    return above is not None and above.is_closing()


class Policy(asyncio.DefaultEventLoopPolicy):
    def __init__(self, make: Callable[[], asyncio.AbstractEventLoop] = TidyLoop) -> None:
        super().__init__()
        self.make = make

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return self.make()
