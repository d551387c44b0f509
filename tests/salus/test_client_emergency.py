"""Asking holders for their shares: who is a block behind is asked again, who means it is believed."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from salus import client_emergency
from salus.client_emergency import BEHIND_S, Emergencies, Released
from salus.emergency_json import GivenShare
from tests import factories
from tests.steps import stepped

HOLDERS = ("hosp-a", "hosp-b", "hosp-c")
THRESHOLD = 2
SUMMARY = b"allergic to penicillin"


class Desk(Emergencies):
    """The node's answers, one set after another; the last one stays."""

    def __init__(self, *rounds: dict[str, str]) -> None:
        chain = SimpleNamespace(
            genesis=SimpleNamespace(
                chain_id=factories.CHAIN_ID, parameters=SimpleNamespace(emergency_silence_ms=60_000)
            )
        )

        async def of_client() -> Any:
            return chain

        client: Any = SimpleNamespace(signer=factories.key("doctor"), chain=of_client, timeout_s=10)
        super().__init__(client)
        self.rounds, self.asked = list(rounds), 0

    async def shares(self, *_: object) -> tuple[GivenShare, ...]:
        codes = self.rounds[min(self.asked, len(self.rounds) - 1)]
        self.asked += 1
        return tuple(
            GivenShare(holder, codes.get(holder, "OK"), 1, THRESHOLD, False, "", "")
            for holder in HOLDERS
        )

    async def summary(self, *_: object) -> Any:
        return SimpleNamespace(generation=1, threshold=THRESHOLD)

    async def _certified(self, tx_id: str | None) -> int | None:
        return None


async def released(monkeypatch: pytest.MonkeyPatch, desk: Desk) -> Released:
    def opened(_: object, threshold: int, __: object, given: dict[str, Any], ___: object) -> Any:
        return SUMMARY if len(given) >= threshold else None

    monkeypatch.setattr(client_emergency, "summary_of_shares", opened)
    monkeypatch.setattr(client_emergency.time, "monotonic", asyncio.get_running_loop().time)
    request = SimpleNamespace(handle=bytes(32))
    file: Any = SimpleNamespace(org="hosp-a", opening="", request=lambda *_: request)
    return await desk.release(file)


def refusing(*holders: str) -> dict[str, str]:
    return dict.fromkeys(holders, "COSIGN_FIRST")


def test_holders_that_are_behind_a_co_signature_are_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @stepped
    async def story() -> None:
        desk = Desk(refusing("hosp-a", "hosp-b"), refusing("hosp-b"))
        done = await released(monkeypatch, desk)
        assert (done.document, desk.asked) == (SUMMARY, 2)

    story()


def test_who_goes_on_refusing_is_believed_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    @stepped
    async def story() -> None:
        began_s = asyncio.get_running_loop().time()
        done = await released(monkeypatch, Desk(refusing("hosp-a", "hosp-b")))
        assert (done.document, done.reason) == (None, "COSIGN_FIRST")
        assert asyncio.get_running_loop().time() - began_s <= BEHIND_S + client_emergency.POLL_S

    story()


def test_whom_all_refuse_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    @stepped
    async def story() -> None:
        desk = Desk(refusing(*HOLDERS))
        done = await released(monkeypatch, desk)
        assert (done.reason, desk.asked) == ("COSIGN_FIRST", 1)

    story()
