"""`salus testnet remove`: who leaves is voted out, and the others say since when."""

from pathlib import Path
from typing import Any

import pytest

from cli import processes, testnet, testnet_members
from cli.home import read_testnet
from salus.client import Client
from salus.parameters import Parameters

SINCE = 12  # a height


async def test_who_leaves_is_not_asked_since_when_it_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others cut it off: a block behind, it never reads of its own leave."""
    root = tmp_path / "net"
    testnet.create(root, 4, "salus-leave", Parameters())
    asked: list[str] = []

    async def decided(root: Path, action: str, **fields: object) -> int:
        return 3

    async def ask(client: Client, number: int) -> dict[str, Any]:
        asked.extend(endpoint.url for endpoint in client._http.endpoints)
        return {"stage": "effective", "effective_height": SINCE}

    monkeypatch.setattr(processes, "running", lambda home: 1)
    monkeypatch.setattr(testnet_members, "decide", decided)
    monkeypatch.setattr(testnet_members.ballots, "ask", ask)
    told: list[str] = []
    assert await testnet_members.leave(told.append, root, "hosp-a") == (3, SINCE)
    assert asked == [node.api for node in read_testnet(root).nodes if node.name != "hosp-a"]
    assert len(told) == 1
