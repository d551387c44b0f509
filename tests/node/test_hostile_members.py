"""A member's key in wrong hands, against real nodes: they stay up, agree, and keep their bodies."""

import os
import time
from pathlib import Path
from typing import TypeVar

import msgspec

from consensus.messages import (
    NO_SIGNATURE,
    Commit,
    Fetch,
    NewView,
    PreparedCertificate,
    PrePrepare,
    SignedMessage,
    Status,
    ViewChange,
    encode_message,
    payload,
)
from node.inlet import FETCHES_PER_S
from node.net.frames import BodyFrame, EvidenceFrame, Kind, PrePrepareFrame
from salus.block import BLOCK_VERSION, Proposal, proposal_digest
from salus.certificate import IndexedSignature
from salus.codec import encode
from salus.parameters import Parameters
from tests.node.network import Hospitals, eventually, hospitals
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
    """Has this node turned the liar away? Its frames may still be under way."""
    await eventually(lambda: LIAR in bans(group, index))
    return True


def bans(group: Hospitals, index: int) -> set[int]:
    """Whom this node has ever turned away; the ban itself ends after a while."""
    known = group.nodes[index].network._peers
    return {
        i
        for i, key in enumerate(group.keys)
        if i != index and known[key.public_key].conduct.banned_until_ms
    }


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
        others = [node for index, node in group.nodes.items() if index != primary]
        await eventually(lambda: all(node.epochs.replica.state.view > 0 for node in others))


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


async def test_a_huge_false_new_view_ends_nobody(tmp_path: Path) -> None:
    """L23, B25: larger than an EVIDENCE frame, view after view."""
    async with hospitals(tmp_path) as group:
        liar = validator(group, 3)
        signature = bytes(64)
        certificate = PreparedCertificate(
            PrePrepare(0, 0, 1, bytes(32), 0, signature),
            tuple(IndexedSignature(index, signature) for index in range(100)),
        )
        wish = ViewChange(0, 3, None, (certificate,) * 400, 3, signature)
        for view in (3, 7, 11):
            lie = signed(group, liar, NewView(0, view, (wish,), (), 3, NO_SIGNATURE))
            tell(group, liar, Kind.CONSENSUS, encode_message(lie))
        await all_commit(group, 0, *(index for index in group.nodes if index != liar))


async def test_a_false_new_view_and_a_double_vote_are_seen_by_all(tmp_path: Path) -> None:
    """L23: shown to one, gossiped as evidence, and no honest node is blamed for passing it on."""
    async with hospitals(tmp_path) as group:
        liar = validator(group, 3)
        honest = [node for index, node in group.nodes.items() if index != liar]
        false = signed(group, liar, NewView(0, 3, (), (), 3, NO_SIGNATURE))
        votes = [
            signed(group, liar, Commit(0, 0, 1, bytes((n,)) * 32, 3, NO_SIGNATURE)) for n in (1, 2)
        ]
        for message in (*votes, false):
            name = honest[0].member
            group.nodes[liar].network.send(name, Kind.CONSENSUS, encode_message(message))
        await eventually(lambda: all(node.vitals.equivocations >= 2 for node in honest))
        await all_commit(group, 0, *(index for index in group.nodes if index != liar))
        assert not any(bans(group, index) for index in group.nodes if index != liar)


async def test_evidence_that_proves_nothing_is_held_against_its_bearer(tmp_path: Path) -> None:
    """B25: no contradiction, no signature, or nothing that binds."""
    async with hospitals(tmp_path) as group:
        vote = signed(group, LIAR, Commit(0, 0, 1, bytes(32), 3, NO_SIGNATURE))
        other = Commit(0, 0, 1, bytes((1,)) * 32, 0, NO_SIGNATURE)
        pairs = [
            (encode_message(vote), encode_message(vote)),
            (
                encode_message(other),
                encode_message(msgspec.structs.replace(other, digest=bytes(32))),
            ),
            (encode_message(vote), b""),
        ]
        for first, second in pairs:
            tell(group, LIAR, Kind.EVIDENCE, encode(EvidenceFrame(first, second)))
        assert all([await banned(group, index) for index in (0, 1, 2)])
        await all_commit(group, 0, 0, 1, 2)
        assert all(group.nodes[index].vitals.equivocations == 0 for index in (0, 1, 2))


async def test_fetches_do_not_draw_more_than_a_share(tmp_path: Path) -> None:
    """B26: forty bytes of question, a whole body of answer."""
    async with hospitals(tmp_path) as group:
        height = await commit(group, 0, anchor(group, 0))
        await group.height(height)
        node, liar = group.nodes[0], group.nodes[LIAR]
        assert node.member is not None
        assert liar.vitals.me is not None
        digest = node.state.header(height).proposal_digest
        sent: list[Kind] = []
        send = node.network.send

        def note(member: str, kind: Kind, frame: bytes) -> bool:
            sent.append(kind)
            return send(member, kind, frame)

        node.network.send = note  # type: ignore[method-assign]
        question = encode_message(Fetch(0, height, digest, liar.vitals.me))
        began = time.monotonic()
        for _ in range(10 * FETCHES_PER_S):
            liar.network.send(node.member, Kind.CONSENSUS, question)
        await eventually(lambda: sent.count(Kind.BODY) >= 2 * FETCHES_PER_S)
        await all_commit(group, 1, 0, 1, 2)
        share = FETCHES_PER_S * (2 + time.monotonic() - began)
        assert sent.count(Kind.BODY) <= share + 1
