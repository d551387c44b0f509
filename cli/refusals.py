"""Why a peer does not let this node in, in words, and what to do about it."""

from collections.abc import Iterable

_REFUSALS = {
    "NOT_A_MEMBER": "refused by peer: our key is not in its membership",
    "WRONG_GENESIS": "refused by peer: it has another genesis",
    "VERSION": "refused by peer: another protocol version",
    "OWN_KEY": "refused by peer: our key is in use elsewhere",
    "BANNED": "refused by peer: we sent something it calls garbage; it forgets that soon",
    "TOO_MANY_PEERS": "refused by peer: it has no room",
    "PARTITIONED": "cut off on purpose (testnet partition)",
    "WRONG_KEY": "another key answered than the one in genesis",
}
_REFUSAL_HINTS = {
    "PARTITIONED": "salus testnet heal",
    "NOT_A_MEMBER": "ask them: salus gov list --member OURS; compare: salus keys show node",
    "WRONG_GENESIS": "compare the genesis hash with the others by voice: salus genesis hash",
    "WRONG_KEY": "the host or the key is wrong: compare [p2p] peers with genesis",
    "OWN_KEY": "stop the other copy of this node; do NOT delete the journal",
}


def refusal(reason: str) -> str:
    """The reason of a refused connection in words."""
    return next((text for word, text in _REFUSALS.items() if word in reason), reason)


def refusal_hint(reasons: Iterable[str]) -> str | None:
    """The next command for the first of them that has one."""
    told = list(reasons)
    for word, hint in _REFUSAL_HINTS.items():
        if any(word in reason for reason in told):
            return hint
    return None
