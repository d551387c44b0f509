"""How a command gets the co-signatures that its operation needs: cli/cosign_options.py says by which
options."""

from collections.abc import Sequence
from pathlib import Path

from cli import drafts
from cli.drafts import Draft
from cli.owners import named, send
from cli.session import Session
from salus.acts.act import Act
from salus.client import Client, Committed
from salus.relation import RelationEntry
from salus.wallet import KnownRelation


async def deliver(
    session: Session,
    client: Client,
    relation: KnownRelation,
    entry: RelationEntry,
    act: Act,
    cosigners: Sequence[str],
    file: Path | None,
) -> Committed | None:
    """Co-sign it and send it; or write it, and None."""
    unsigned = Draft((await client.chain()).genesis.chain_id, act)
    for name in cosigners:
        key = named(session, name, unsigned.chain_id, relation, entry)
        unsigned = drafts.cosign(unsigned, key)
    if file is None:
        return await send(client, unsigned.act)
    drafts.write(file, unsigned)
    session.out.result(
        {"draft": str(file), "method": f"{act.contract}.{act.method}"},
        f"{file}: have it co-signed with salus patient cosign, then salus patient send",
    )
    return None
