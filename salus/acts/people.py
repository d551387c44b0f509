"""What an organisation's operator says of it: who its staff are, and what it offers to the public."""

from collections.abc import Collection

from salus.acts.act import Act, act
from salus.keys import Signer
from salus.offer import Service, Surface
from salus.staff import StaffRole, possession, qualification_commitment


def register(
    chain_id: str,
    org: str,
    handle: bytes,
    key: Signer,
    roles: Collection[StaffRole],
    period_ms: tuple[int, int],
    qualification: str,
    salt: bytes,
) -> Act:
    """For the operator to send; the person's `key` signs that it belongs there. `salt` opens the
    commitment to the qualification; `period_ms`: from, until."""
    from_ms, until_ms = period_ms
    return act(
        "members",
        "staff_register",
        org=org,
        handle=handle,
        key=key.public_key,
        roles=tuple(sorted(set(roles))),
        qualification=qualification_commitment(salt, qualification),
        from_ms=from_ms,
        until_ms=until_ms,
        possession=key.sign(possession(chain_id, org, handle)),
    )


def offer(
    services: Collection[Service], sites: Collection[int], surfaces: Collection[Surface]
) -> Act:
    """What the sender's organisation offers to the public; it takes the place of what it said before."""
    return act(
        "members",
        "offer",
        services=tuple(sorted(set(services))),
        sites=tuple(sorted(set(sites))),
        surfaces=tuple(sorted(set(surfaces))),
    )


def revoke(handle: bytes) -> Act:
    return act("members", "staff_revoke", handle=handle)
