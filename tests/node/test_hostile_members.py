"""A member's key in wrong hands, against real nodes: they stay up, agree, and keep their bodies."""

import asyncio
import os
import time
from pathlib import Path
from typing import TypeVar

import msgspec

from consensus.messages import (
    NO_SIGNATURE,
    Fetch,
    PrePrepare,
    SignedMessage,
    Status,
    encode_message,
    payload,
)
from node.net.frames import BodyFrame, Kind, PrePrepareFrame
from salus.block import BLOCK_VERSION, Proposal, proposal_digest
from salus.codec import encode
from salus.parameters import Parameters
from tests.node.network import Hospitals, hospitals
from tests.node.test_node import anchor, commit

M = TypeVar("M", bound=SignedMessage)

LIAR = 3
SHORT_EPOCHS = msgspec.structs.replace(
    Parameters(),
    watermark_window=8,
    in_flight_proposals_max=2,
    execute_ahead_max=4,
    epoch_blocks_max=8,
)


def signed(group: Hospitals, index: int, message: M) -> M:
    signature = group.keys[index].sign(payload(group.genesis.vote_domain(), message))
    return msgspec.structs.replace(message, signature=signature)


def tell(group: Hospitals, liar: int, kind: Kind, frame: bytes) -> None:
    """The same frame from one member to all others."""
    for index, node in group.nodes.items():
        if index != liar:
            assert node.member is not None
            group.nodes[liar].network.send(node.member, kind, frame)


def validator(group: Hospitals, number: int) -> int:
    """Which node is validator `number` of the first epoch."""
    return next(i for i, node in group.nodes.items() if node.vitals.me == number)


async def banned(group: Hospitals, index: int) -> bool:
    """Does this node turn the liar away? Its frames may still be under way."""
    liar = group.nodes[LIAR].member
    async with asyncio.timeout(2):
        await group.nodes[index].network.wait_for(
            lambda peers: any(peer.member == liar and peer.banned_ms for peer in peers)
        )
    return True


async def all_commit(group: Hospitals, first: int, *indexes: int) -> None:
    for number, index in enumerate(indexes, first):
        await commit(group, index, anchor(group, number, org=index))


async def test_bodies_that_nobody_asked_for_push_none_out(tmp_path: Path) -> None:
    """S3, B25: small ones whose digests sort first, just before each proposal arrives."""
    junk: list[bytes] = []
    while len(junk) < 165:
        body = os.urandom(12)
        if proposal_digest(body)[0] == 0:
            junk.append(body)
    async with hospitals(tmp_path) as group:
        for number in range(3):
            height = group.nodes[0].state.height() + 1
            for body in junk:
                frame = encode(BodyFrame(height, proposal_digest(body), body))
                tell(group, LIAR, Kind.BODY, frame)
            await all_commit(group, number, number)
        height = max(node.state.height() for node in group.nodes.values())
        await group.height(height)
        for node in group.nodes.values():
            for certified in range(1, height + 1):
                digest = node.state.header(certified).proposal_digest
                assert node.blocks.body(certified, digest) is not None
            assert len(node.bodies._raw) < len(junk)


async def test_an_empty_body_is_a_bad_proposal_and_nothing_worse(tmp_path: Path) -> None:
    """S15: the view changes, and the others go on."""
    async with hospitals(tmp_path) as group:
        primary = validator(group, 0)
        now_ms = time.time_ns() // 1_000_000
        good = encode(Proposal(BLOCK_VERSION, 1, 0, 0, now_ms, ()))
        for sequence, body in ((1, good), (2, b"")):
            digest = proposal_digest(body)
            vote = signed(group, primary, PrePrepare(0, 0, sequence, digest, 0, NO_SIGNATURE))
            frame = PrePrepareFrame(encode_message(vote), body)
            tell(group, primary, Kind.PRE_PREPARE, encode(frame))
        await all_commit(group, 0, *(i for i in group.nodes if i != primary))
        assert all(n.replica.state.view > 0 for i, n in group.nodes.items() if i != primary)


async def test_a_request_speaks_only_for_the_member_that_sends_it(tmp_path: Path) -> None:
    """L20: a STATUS of an old epoch that names no member of it, and FETCHes for others."""
    async with hospitals(tmp_path, parameters=SHORT_EPOCHS) as group:
        number = 0
        while min(node.pipeline.epoch.epoch for node in group.nodes.values()) < 1:
            await all_commit(group, number, number % 3)
            number += 1
        for message in (
            Status(0, 0, 0, 0, 99, NO_SIGNATURE),
            Status(0, 0, 0, 0, 0, NO_SIGNATURE),
            Fetch(1, 1, bytes(32), 0),
            Fetch(1, 1, bytes(32), 99),
        ):
            tell(group, LIAR, Kind.CONSENSUS, encode_message(message))
        await all_commit(group, number, 0, 1, 2)
        for index in (0, 1, 2):
            assert await banned(group, index), f"node {index}"
