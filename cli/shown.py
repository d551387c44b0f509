"""A relation as its patient sees it: who holds the key, who may act for him, what waits, in words."""

from datetime import UTC, datetime
from typing import Any

from cli.connect import short
from cli.wallets import OpenWallet
from salus.relation import DAY_MS, Recovery, RelationEntry
from salus.wallet import KnownRelation


def relation_shown(
    wallet: OpenWallet,
    chain_id: str,
    relation: KnownRelation,
    entry: RelationEntry | None,
    newest_terms: Any,
    now_ms: int,
) -> dict[str, Any]:
    """For machines. `newest_terms`: the answer of identity.terms, or None."""
    row: dict[str, Any] = {
        "at": relation.org,
        "handle": relation.handle.hex(),
        "registered": entry is not None,
    }
    if entry is None:
        return row
    settled = entry.settled_at(now_ms)

    def recovery(one: Recovery) -> dict[str, Any]:
        return {
            "new_key": one.new_key.hex(),
            "key_is_mine": wallet.owns(chain_id, relation, one.new_key),
            "approvals": len(one.approvals),
            "needed": one.needed,
            "ready": time_text(one.ready_ms),
            "cancellable": one.cancellable,
        }

    rotation = settled.rotation
    newest = 0 if newest_terms is None else newest_terms["version"]
    return row | {
        "since_height": settled.since_height,
        # What the organisation says of the key, and what this wallet knows of it: a patient who
        # holds no key here and reads «custodial: false» has been lied about (rule I-6).
        "custodial": settled.custodial,
        "key_is_mine": wallet.owns(chain_id, relation, settled.owner_key),
        "owner_key": settled.owner_key.hex(),
        "generation": settled.generation,
        "guardians": [key.hex() for key in settled.guardians],
        "threshold": settled.threshold,
        "delegates": [
            {
                "key": one.key.hex(),
                "rights": [right.value for right in one.rights],
                "until": _day(one.until_day),
                "ended": one.until_day < now_ms // DAY_MS,
            }
            for one in settled.delegates
        ],
        "rotation": None
        if rotation is None
        else {
            "new_key": rotation.new_key.hex(),
            "effective": time_text(rotation.effective_ms),
            "vetoes": len(rotation.vetoes),
        },
        "recovery": None if settled.recovery is None else recovery(settled.recovery),
        "proposals": [recovery(one) for one in settled.proposals_at(now_ms)],
        "terms": {"accepted": settled.terms_version, "newest": newest},
    }


def relation_lines(row: dict[str, Any]) -> list[str]:
    """For people."""
    head = f"{row['at']}  handle {short(row['handle'])}"
    if not row["registered"]:
        return [f"{head}  not registered"]
    holder = "the hospital" if row["custodial"] else "the patient"
    mine = "this wallet's" if row["key_is_mine"] else "NOT of this wallet"
    lines = [
        f"{head}  since block {row['since_height']}",
        f"  key        {short(row['owner_key'])}: {mine}; held by {holder}, says {row['at']}",
    ]
    if row["guardians"]:
        keys = ", ".join(map(short, row["guardians"]))
        lines.append(f"  guardians  {row['threshold']} of {len(row['guardians'])}: {keys}")
    for one in row["delegates"]:
        ended = "  ended" if one["ended"] else ""
        rights = ", ".join(one["rights"])
        lines.append(f"  delegate   {short(one['key'])}: {rights} until {one['until']}{ended}")
    if row["rotation"]:
        lines.append(f"  rotation   to {short(row['rotation']['new_key'])}, in force "
                     f"{row['rotation']['effective']}")  # fmt: skip
    recoveries = [row["recovery"]] if row["recovery"] else row["proposals"]
    lines += [f"  recovery   {_words(one)}" for one in recoveries]
    terms = row["terms"]
    if terms["newest"]:
        lines.append(f"  terms      version {terms['accepted'] or 'none'} accepted, newest "
                     f"{terms['newest']}")  # fmt: skip
    return lines


def _words(one: dict[str, Any]) -> str:
    whose = "" if one["key_is_mine"] else ", NOT a key of this wallet"
    approved = f"{one['approvals']} of {one['needed']} approved"
    end = "may be finished from" if one["approvals"] >= one["needed"] else "over at"
    say = "" if one["cancellable"] else "; the old key has no say"
    return f"to {short(one['new_key'])}{whose}: {approved}, {end} {one['ready']}{say}"


def time_text(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _day(number: int) -> str:
    return time_text(number * DAY_MS)[:10]
