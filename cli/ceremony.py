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
from salus.join import Admission, Card, read_admission, read_join, write_join
from salus.keys import address
from salus.parameters import Parameters, check_parameters


def parameters_with(settings: Sequence[str], base: Parameters | None = None) -> Parameters:
    """The parameters of `base`, the default ones without, with some changed («name=number»); checked."""
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
    changed = msgspec.structs.replace(base or Parameters(), **changes)
    try:
        # `replace` checks no limits; a round through plain data does.
        parameters = msgspec.convert(msgspec.to_builtins(changed), Parameters)
    except msgspec.ValidationError as error:
        raise CliError("BAD_GENESIS", f"parameters: {error}") from None
    check_parameters(parameters)
    return parameters


def draft(
    chain_id: str, time_ms: int, parameters: Parameters, pepper_commitment: bytes
) -> dict[str, Any]:
    """A genesis document without members, as plain JSON data."""
    document: dict[str, Any] = json.loads(
        to_json(Genesis(GENESIS_VERSION, chain_id, time_ms, (), parameters, pepper_commitment))
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


def read_admission_of(file: Path) -> tuple[Card, Admission]:
    """The card of a join file that is for a running network."""
    ((card, _),) = read_cards((file,))
    _, admission = read_admission(file.read_bytes())
    if admission is None:
        raise CliError(
            "BAD_JOIN",
            f"{file} is for a founding: its keys have not signed for a chain that runs",
            next_step=f"{card.member.id}: salus genesis install GENESIS --hash HASH --by-vote, then"
            " salus genesis join",
        )
    return card, admission


def keys_of(file: Path) -> tuple[dict[str, Any], str]:
    """What a join or rotation file says, named as in a proposal, and its fingerprint."""
    from salus.rotation import FORMAT, read_rotation

    data = file.read_bytes()
    if FORMAT.encode() in data:
        rotation = read_rotation(data)
        told: dict[str, Any] = {
            "action": f"rotate_{rotation.capacity}_key",
            "member": rotation.member,
            "new_key": rotation.new_key.hex(),
        }
        return told, rotation.fingerprint()
    card, _ = read_admission_of(file)
    member = card.member
    told = {
        "action": "add_member",
        "member": member.id,
        "roles": sorted(role.value for role in member.roles),
        "node_key": member.node_key.hex(),
        "operator_key": member.operator_key.hex(),
        "box_key": member.box_key.hex(),
    }
    return told, card.fingerprint()


def own_card(home: NodeHome, password_file: str | None = None) -> tuple[Card, str]:
    """The card of this home and its join file; signed anew if `p2p.advertise` names another place
    than the file (the node has moved), or if it shall join the chain of the genesis in the home
    and does not say so yet."""
    from cli.keyfiles import password_for
    from node.config import load

    text = home.join.read_text()
    card, admission = read_admission(text)
    advertised = load(home.config, environ=os.environ).config.p2p.advertise
    place = card.endpoint if advertised is None else str(advertised)
    joins = joining(home, card)
    told = None if admission is None else admission.chain_id
    if place == card.endpoint and joins in (None, told):
        return card, text
    card = Card(card.member, place)
    password = password_for(home, password_file)
    return card, sign_card(home, card, joins or told, password=password)


def sign_card(home: NodeHome, card: Card, chain_id: str | None, *, password: str) -> str:
    """The join file of the home, signed by its keys."""
    from salus.keystore import Keystore

    node, operator = (
        Keystore.unlock(home.keys / f"{name}.json", password) for name in ("node", "operator")
    )
    if (node.public_key, operator.public_key) != (card.member.node_key, card.member.operator_key):
        raise CliError("BAD_JOIN", f"the keys of {home.path} are not those of its join.json")
    text = write_join(card, node, operator, chain_id)
    replace(home.join, text.encode(), mode=0o644)
    return text


def joining(home: NodeHome, card: Card) -> str | None:
    """The chain that this home is to join by vote: its genesis does not know the organisation. (A
    founder with another key by vote has joined long ago.)"""
    if not home.genesis.exists():
        return None
    founding = from_json(home.genesis.read_bytes())
    known = any(m.id == card.member.id for m in founding.members)
    return None if known else founding.chain_id


def install_genesis(
    home: NodeHome,
    founding: Genesis,
    places: Mapping[bytes, str],
    *,
    by_vote: bool = False,
    dry_run: bool = False,
) -> str:
    """Write genesis.json and the peers of node.toml; the id of the member whose home this is.
    `by_vote`: it need not be a founder."""
    card = read_join(home.join.read_bytes())
    member = next((m for m in founding.members if m.node_key == card.member.node_key), None)
    if member is None and not by_vote:
        raise CliError(
            "NOT_IN_GENESIS",
            f"no member of {founding.chain_id} has the node key {address(card.member.node_key)}",
            next_step="send your join.json to whoever assembles, and install the new genesis; if the"
            " network runs already: --by-vote",
        )
    member = member or card.member
    if home.genesis.exists():
        present = from_json(home.genesis.read_bytes())
        if present.hash() != founding.hash():
            raise CliError(
                "REFUSES_OVERWRITE",
                f"{home.genesis} is another genesis ({present.hash().hex()[:16]}…)",
            )
    if not dry_run:
        replace(home.genesis, to_json(founding).encode(), mode=0o644)
        set_peers(home, places, own=member.node_key, order=[m.node_key for m in founding.members])
    return member.id


def agreed(file: Path, expected: str) -> Genesis:
    """The document of a file, if its hash is the one that everybody agreed on."""
    founding = from_json(file.read_bytes())
    if founding.hash().hex() != expected.strip().lower():
        raise CliError(
            "BAD_GENESIS",
            f"{file} has the hash {founding.hash().hex()}, not the one you named",
            next_step="do not start; ask the others which document is theirs",
        )
    return founding


def set_peers(
    home: NodeHome, places: Mapping[bytes, str], *, own: bytes, order: Sequence[bytes] = ()
) -> None:
    """The other members' places in node.toml, comments kept; who is not named stays as he was.
    `order`: the keys that come first."""
    import tomlkit

    document = tomlkit.parse(home.config.read_text())
    table = document.setdefault("p2p", tomlkit.table())
    known = {str(peer).partition("@")[0]: str(peer) for peer in table.get("peers", ())}
    known |= {address(key): f"{address(key)}@{place}" for key, place in places.items()}
    first = {address(key): place for place, key in enumerate(order)}
    ordered = sorted(
        known, key=lambda key: first.get(key, len(first))
    )  # who came later stays behind
    peers = [known[key] for key in ordered if key != address(own)]
    if not peers:
        return
    table["peers"] = tomlkit.array()
    for peer in peers:
        table["peers"].append(peer)
    table["peers"].multiline(True)
    replace(home.config, tomlkit.dumps(document).encode())


def unset_peer(home: NodeHome, key: str, *, dry_run: bool = False) -> bool:
    """Take the place of a key out of node.toml; False if it stands nowhere there."""
    import tomlkit

    document = tomlkit.parse(home.config.read_text())
    table = document.get("p2p", {})
    left = [str(peer) for peer in table.get("peers", ()) if str(peer).partition("@")[0] != key]
    if len(left) == len(table.get("peers", ())):
        return False
    if not dry_run:
        table["peers"] = tomlkit.array()
        for peer in left:
            table["peers"].append(peer)
        table["peers"].multiline(True)
        replace(home.config, tomlkit.dumps(document).encode())
    return True


def own_key(home: NodeHome) -> bytes:
    """The node key that the home's join file names."""
    return read_join(home.join.read_bytes()).member.node_key
