"""The end of a line, whatever state it is in."""

import asyncio


def cut_off(transport: asyncio.WriteTransport) -> None:
    """`abort`, also of a TLS line that was closed twice: early 3.11 (Debian 12 has 3.11.2) forgets
    its protocol by that, and then `abort` raises. The TCP line below is being closed already."""
    try:
        transport.abort()
    except AttributeError:
        if not transport.is_closing():
            raise
