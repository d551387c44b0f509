"""Founding a network: drafts, join files, and what they become in a node's home."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cli.errors import CliError
from cli.home import NodeHome
from salus.errors import BadMessage
from salus.files import replace
from salus.genesis import GENESIS_VERSION, Genesis, from_json, to_json
from salus.join import Card, read_join, write_join
from salus.keys import address
from salus.parameters import Parameters, check_parameters


def parameters_with(settings: Sequence[str]) -> Parameters:
    """The default parameters with some changed («name=number»); checked."""
    import msgspec

    changes: dict[str, int] = {}
    for setting in settings:
        name, equals, number = setting.partition("=")
        if name not in Parameters.__struct_fields__ or name == "contracts":
            from difflib import get_close_matches

            close = get_close_matches(name, Parameters.__struct_fields__, n=1)
            hint = f" Did you mean «{close[0]}»?" if close else ""
            raise CliError("USAGE", f"there is no parameter «{name}».{hint}")
        if not (equals and number.isascii() and number.isdigit() and len(number) <= 16):
            raise CliError("USAGE", f"{name}: expected NAME=NUMBER")
        changes[name] = int(number)
    changed = msgspec.structs.replace(Parameters(), **changes)
    try:
        # `replace` checks no limits; a round through plain data does.
        parameters = msgspec.convert(msgspec.to_builtins(changed), Parameters)
    except msgspec.ValidationError as error:
        raise CliError("BAD_GENESIS", f"parameters: {error}") from None
    check_parameters(parameters)
    return parameters


def draft(chain_id: str, time_ms: int, parameters: Parameters) -> dict[str, Any]:
    """A genesis document without members, as plain JSON data."""
    document: dict[str, Any] = json.loads(
        to_json(Genesis(GENESIS_VERSION, chain_id, time_ms, (), parameters))
    )
    import msgspec

    from salus.genesis import ChainId

    try:
        msgspec.convert(chain_id, ChainId)
    except msgspec.ValidationError:
        raise CliError(
            "BAD_GENESIS", "a chain id is 3 to 32 lower-case letters, digits and «-»"
        ) from None
    return document


def read_cards(files: Sequence[Path]) -> list[tuple[Card, Path]]:
    """The cards of join files, each with its file; raises with the name of the bad one."""
    cards = []
    for file in files:
        try:
            cards.append((read_join(file.read_bytes()), file))
        except BadMessage as error:
            raise CliError("BAD_JOIN", f"{file}: {error.message}", exit_code=65) from None
    return cards


def own_card(home: NodeHome, password_file: str | None = None) -> tuple[Card, str]:
    """The card of this home and its join file; signed anew if `p2p.advertise` names another place
    than the file: the node has moved."""
    from cli.keyfiles import password_for
    from node.config import load
    from salus.keystore import Keystore

    text = home.join.read_text()
    card = read_join(text)
    advertised = load(home.config, environ=os.environ).config.p2p.advertise
    if advertised is None or str(advertised) == card.endpoint:
        return card, text
    password = password_for(home, password_file)
    node, operator = (
        Keystore.unlock(home.keys / f"{name}.json", password) for name in ("node", "operator")
    )
    if (node.public_key, operator.public_key) != (card.member.node_key, card.member.operator_key):
        raise CliError("BAD_JOIN", f"the keys of {home.path} are not those of its join.json")
    card = Card(card.member, str(advertised))
    text = write_join(card, node, operator)
    replace(home.join, text.encode(), mode=0o644)
    return card, text


def install_genesis(
    home: NodeHome, founding: Genesis, places: Mapping[bytes, str], *, dry_run: bool = False
) -> str:
    """Write genesis.json and the peers of node.toml; the id of the member whose home this is."""
    card = read_join(home.join.read_bytes())
    member = next((m for m in founding.members if m.node_key == card.member.node_key), None)
    if member is None:
        raise CliError(
            "NOT_IN_GENESIS",
            f"no member of {founding.chain_id} has the node key {address(card.member.node_key)}",
            next_step="send your join.json to whoever assembles, and install the new genesis",
        )
    if home.genesis.exists():
        present = from_json(home.genesis.read_bytes())
        if present.hash() != founding.hash():
            raise CliError(
                "REFUSES_OVERWRITE",
                f"{home.genesis} is another genesis ({present.hash().hex()[:16]}…)",
            )
    if not dry_run:
        replace(home.genesis, to_json(founding).encode(), mode=0o644)
        set_peers(home, founding, places, own=member.node_key)
    return member.id


def install_checked(
    home: NodeHome, file: Path, expected: str, places: Mapping[bytes, str], *, dry_run: bool = False
) -> str:
    """Install the document only if its hash is the one that everybody agreed on."""
    founding = from_json(file.read_bytes())
    if founding.hash().hex() != expected.strip().lower():
        raise CliError(
            "BAD_GENESIS",
            f"{file} has the hash {founding.hash().hex()}, not the one you named",
            next_step="do not start; ask the others which document is theirs",
        )
    return install_genesis(home, founding, places, dry_run=dry_run)


def set_peers(
    home: NodeHome, founding: Genesis, places: Mapping[bytes, str], *, own: bytes
) -> None:
    """The other members' places in node.toml, comments kept; who is not named stays as he was."""
    import tomlkit

    document = tomlkit.parse(home.config.read_text())
    table = document.setdefault("p2p", tomlkit.table())
    known = {str(peer).partition("@")[0]: str(peer) for peer in table.get("peers", ())}
    known |= {address(key): f"{address(key)}@{place}" for key, place in places.items()}
    peers = [
        known[address(m.node_key)]
        for m in founding.members
        if m.node_key != own and address(m.node_key) in known
    ]
    if not peers:
        return
    table["peers"] = tomlkit.array()
    for peer in peers:
        table["peers"].append(peer)
    table["peers"].multiline(True)
    replace(home.config, tomlkit.dumps(document).encode())
