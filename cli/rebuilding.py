"""The relations of a seed, found again on the chain: what a proof shows, and what is a node's word.

The node says under which handle a key of the seed stands. Law of the file: that is where to look and no
more. A relation counts only with a certified state that has it and names a key of the seed, or has it under
the seed's own handle; and that this handle does not stand somewhere is proved too.
"""

from dataclasses import dataclass

from cli.errors import CliError
from cli.hexes import hex_bytes
from cli.wallets import OpenWallet
from salus.client import Client
from salus.errors import SalusError
from salus.patient_keys import Relation, handle, owner_keys
from salus.regain import proved_relation
from salus.relation import RelationEntry, Whose
from salus.wallet import KnownRelation

# Keys of rotations and recoveries that came to nothing are on the chain as well; a gap is left by
# one that was counted and never sent.
GENERATIONS_GAP = 8
GENERATIONS_MAX = 1_024  # a new key each day for nearly three years; a node could say yes for ever


@dataclass(frozen=True, slots=True)
class Found:
    """At one organisation. `relation`: None without one; `height`: of the state that proves it, or that
    the seed's own handle is not there; None: nothing is proved, for the reason `code`."""

    org: str
    relation: KnownRelation | None
    height: int | None
    code: str | None = None


async def find(client: Client, wallet: OpenWallet, chain_id: str, org: str) -> Found:
    """Raises `CliError` (BAD_ANSWER), `ClientError`; a proof that fails or is not to be had is told in
    the answer."""
    keys, told, newest = await _told(client, wallet, chain_id, org)
    own = handle(wallet.seed, Relation(chain_id, org))
    height = None
    try:
        for place in dict.fromkeys((told or own, own)):
            entry, height = await proved_relation(client, Whose(org, place))
            if entry is None:
                continue
            named = _named(entry)
            if place == own and not named <= set(keys):
                # The node need not know of a key that the state names: all are tried.
                keys += _keys(wallet, chain_id, org, range(len(keys), GENERATIONS_MAX))
            stands = max((number for number, key in enumerate(keys) if key in named), default=None)
            if stands is not None or place == own:
                known = KnownRelation(org, place, entry.custodial, _newest(stands, newest))
                return Found(org, known, height)
    except SalusError as error:
        return Found(org, None, None, error.code)
    if told is not None:
        return Found(org, None, None, "NOT_PROVED")  # the node told of a relation that there is not
    return Found(org, None, height)


async def _told(
    client: Client, wallet: OpenWallet, chain_id: str, org: str
) -> tuple[list[bytes], bytes | None, int]:
    """The seed's owner keys, and by the node's word the handle of the newest that stands, and its number."""
    keys: list[bytes] = []
    told, newest = None, 0
    while len(keys) <= (newest + GENERATIONS_GAP):
        if len(keys) >= GENERATIONS_MAX:
            raise CliError("BAD_ANSWER", f"the node knows each of {GENERATIONS_MAX} keys at {org}")
        (key,) = _keys(wallet, chain_id, org, range(len(keys), len(keys) + 1))
        use = await client.query("identity", "by_key", public_key=key.hex())
        if use is not None and use["org"] == org:
            newest = len(keys)
            told = hex_bytes(use["handle"], 32, "the node's handle", "BAD_ANSWER")
        keys.append(key)
    return keys, told, newest


def _keys(wallet: OpenWallet, chain_id: str, org: str, numbers: range) -> list[bytes]:
    of = Relation(chain_id, org)
    return [owner_keys(wallet.seed, of, number).signing.public_key for number in numbers]


def _named(entry: RelationEntry) -> set[bytes]:
    """The owner key, and those that wait to be."""
    waiting = (entry.rotation, entry.recovery, *entry.proposals)
    return {entry.owner_key, *(one.new_key for one in waiting if one is not None)}


def _newest(stands: int | None, told: int) -> int:
    """The number that the next key goes on from. One that the node is silent of stands in the entry; of
    those that came to nothing it alone tells, and is believed as far only as the next key is found again:
    else one lie would lock the owner out at the rebuild after."""
    if stands is None:
        return told
    return max(stands, min(told, stands + GENERATIONS_GAP - 1))
