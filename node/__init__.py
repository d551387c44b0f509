"""The process of one hospital: the only package with asyncio, sockets and the clock."""

VERSION = "0.1.0"
