"""The settings of one node, declared: type, default, limits, one sentence each.

Law of the file: nothing here may decide what a block contains. Parameters that all nodes must
share live in genesis and governance (rule B28), so that two nodes cannot differ. A knob that is
written down works. `node/config.py` reads them.
"""

from collections.abc import Iterator
from typing import Annotated, Any, get_type_hints

import msgspec

from node.net.limits import NetLimits
from node.net.peer import PeerAddress
from node.settings import Endpoint, Setting, What

CONFIG_VERSION = 1  # A new meaning of an old key is a new version.

MIB = 1024 * 1024


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all tables. A name ends in its unit here and not in node.toml."""


class P2P(Table, frozen=True, kw_only=True):
    """Connections between the nodes of the consortium."""

    listen: Annotated[
        Endpoint,
        Setting(What.ENDPOINT, "Where this node listens for its peers (TLS 1.3). Port 0: any."),
    ] = Endpoint("0.0.0.0", 7400)
    advertise: Annotated[
        Endpoint | None,
        Setting(
            What.ENDPOINT,
            "Where the others reach this node; `salus genesis join` signs it into the join file.",
        ),
    ] = None
    peers: Annotated[
        tuple[PeerAddress, ...],
        Setting(
            What.PEERS,
            "The nodes to dial, each with the key that must answer there; where a vote has replaced "
            "it, the new one. Only members are served: a key that the ledger does not know may bring "
            "certified blocks, and gets nothing. SIGHUP reads those that were added.",
            max=1_000,
        ),
    ] = ()
    max_peers: Annotated[
        int, Setting(What.COUNT, "Peers known at once, whoever dialled.", min=1, max=1_000)
    ] = 128
    handshake_timeout_ms: Annotated[
        int,
        Setting(What.DURATION, "From a new connection to its proof.", min=100, max=60_000),
    ] = 5_000
    ping_interval_ms: Annotated[
        int, Setting(What.DURATION, "Between two pings to a peer.", min=100, max=60_000)
    ] = 2_000
    idle_timeout_ms: Annotated[
        int,
        Setting(What.DURATION, "A peer silent for so long is disconnected.", min=500, max=600_000),
    ] = 10_000
    dial_min_ms: Annotated[
        int,
        Setting(
            What.DURATION, "First pause before dialling again; it doubles.", min=10, max=60_000
        ),
    ] = 100
    dial_max_ms: Annotated[
        int,
        Setting(What.DURATION, "Longest pause before dialling again.", min=100, max=600_000),
    ] = 5_000
    unauthenticated_max: Annotated[
        int,
        Setting(
            What.COUNT, "Connections that have not yet proved a key, in all.", min=1, max=10_000
        ),
    ] = 128
    unauthenticated_per_ip_max: Annotated[
        int, Setting(What.COUNT, "The same from one address.", min=1, max=10_000)
    ] = 32

    def limits(self) -> NetLimits:
        """What `node.net.network` takes."""
        return NetLimits(
            handshake_timeout_ms=self.handshake_timeout_ms,
            unauthenticated_max=self.unauthenticated_max,
            unauthenticated_per_ip_max=self.unauthenticated_per_ip_max,
            peers_max=self.max_peers,
            ping_interval_ms=self.ping_interval_ms,
            idle_timeout_ms=self.idle_timeout_ms,
            dial_min_ms=self.dial_min_ms,
            dial_max_ms=self.dial_max_ms,
        )


class Api(Table, frozen=True, kw_only=True):
    """The HTTP interface for apps, the command line and metrics."""

    listen: Annotated[Endpoint, Setting(What.ENDPOINT, "Where the API listens. Port 0: any.")] = (
        Endpoint("127.0.0.1", 7480)
    )
    auth: Annotated[
        str,
        Setting(
            What.CHOICE,
            "`token`: whoever asks for more than health and headers shows the token in the "
            "file api.token of the home. `none`: only on loopback.",
            choices=("token", "none"),
        ),
    ] = "token"
    tls_cert: Annotated[
        str | None, Setting(What.TEXT, "Certificate chain (PEM) for HTTPS. In the home.")
    ] = None
    tls_key: Annotated[
        str | None, Setting(What.TEXT, "Private key (PEM) of `tls_cert`. In the home.")
    ] = None
    cors_origins: Annotated[
        tuple[str, ...],
        Setting(What.TEXTS, "Origins of web pages that may call the API.", max=100),
    ] = ()
    hosts: Annotated[
        tuple[str, ...],
        Setting(
            What.TEXTS,
            "Names under which clients reach the API, beside loopback; beyond it, who logs in "
            "there names one of them.",
            max=100,
        ),
    ] = ()
    rate_limit: Annotated[
        int,
        Setting(
            What.COUNT, "Requests per second and client address; a flood only.", min=1, max=10**6
        ),
    ] = 5_000
    subscribers_max: Annotated[
        int, Setting(What.COUNT, "Event streams open at once.", min=1, max=10_000)
    ] = 256
    document_max_bytes: Annotated[
        int,
        Setting(
            What.SIZE,
            "Largest document that is read whole: FHIR and JSON. All others stream, up to 128 MiB.",
            min=MIB,
            max=1024 * MIB,
        ),
    ] = 32 * MIB


class Mempool(Table, frozen=True, kw_only=True):
    """Transactions that wait to be ordered. Their number is a parameter of the chain."""

    size_max_bytes: Annotated[
        int, Setting(What.SIZE, "Memory for waiting transactions.", min=MIB, max=64 * 1024 * MIB)
    ] = 64 * MIB
    per_sender_max: Annotated[
        int, Setting(What.COUNT, "Waiting transactions of one sender.", min=1, max=1_000_000)
    ] = 10_000
    verify_threads: Annotated[
        int,
        Setting(
            What.COUNT, "Processes that check signatures; 0: one for every four cores.", max=256
        ),
    ] = 0


class Storage(Table, frozen=True, kw_only=True):
    """What is kept on disk."""

    cache_bytes: Annotated[
        int,
        Setting(
            What.SIZE,
            "LevelDB's cache for the state; that of the bodies of blocks takes 4 MiB at most.",
            min=MIB,
            max=64 * 1024 * MIB,
        ),
    ] = 64 * MIB
    free_min_bytes: Annotated[
        int,
        Setting(What.SIZE, "With less free disk no new transactions are taken.", min=16 * MIB),
    ] = 512 * MIB
    erase_on_request: Annotated[
        bool,
        Setting(
            What.FLAG,
            "Erase by itself what a certified request names; else the operator decides each time.",
        ),
    ] = True


class SyncTable(Table, frozen=True, kw_only=True):
    """Catching up with the others."""

    verify_all: Annotated[
        bool,
        Setting(
            What.FLAG,
            "Check what clients signed in fetched blocks, too. False: a quorum has, and its certificate is "
            "believed. `salus start --verify-all` says it once.",
        ),
    ] = False


class Records(Table, frozen=True, kw_only=True):
    """Documents and their anchors on the chain."""

    batch_period_ms: Annotated[
        int,
        Setting(
            What.DURATION,
            "Documents are anchored together at multiples of this time, so that the chain does not say when "
            "each came, nor how many. Nobody at a desk waits longer than ten seconds; set a minute where a "
            "machine hands them in. 0: each at once.",
            min=0,
            max=60_000,
        ),
    ] = 10_000


class Log(Table, frozen=True, kw_only=True):
    """One event a line, on stderr."""

    level: Annotated[
        str,
        Setting(
            What.CHOICE, "SIGHUP reads it anew.", choices=("debug", "info", "warning", "error")
        ),
    ] = "info"
    format: Annotated[
        str,
        Setting(
            What.CHOICE, "`json` for machines, `human` for a terminal.", choices=("json", "human")
        ),
    ] = "json"
    redact: Annotated[
        bool,
        Setting(What.FLAG, "Keep identifiers, keys and contents out. False: profile `dev` only."),
    ] = True
    repeat_interval_ms: Annotated[
        int,
        Setting(
            What.DURATION,
            "Equal events beyond five within this time are counted, not written.",
            min=100,
            max=3_600_000,
        ),
    ] = 10_000


class MetricsTable(Table, frozen=True, kw_only=True):
    """Prometheus text at /metrics of the API."""

    enabled: Annotated[bool, Setting(What.FLAG, "Serve /metrics.")] = True


class KeeperTable(Table, frozen=True, kw_only=True):
    """The process that alone opens the keys of patients' documents; `salus keeper init` writes it here."""

    public_key: Annotated[
        bytes | None,
        Setting(
            What.KEY,
            "The keys of patients' documents are sealed to it. Without one, such documents are refused.",
        ),
    ] = None
    socket: Annotated[
        str, Setting(What.TEXT, "Where it answers: a Unix socket in a folder of its own.")
    ] = "keeper/keeper.sock"


class OutboxTable(Table, frozen=True, kw_only=True):
    """How patients who gave a contact hear of what happened; without medical content."""

    smtp_host: Annotated[
        str | None,
        Setting(What.TEXT, "The mail server that takes messages. Without one no mail is sent."),
    ] = None
    smtp_port: Annotated[int, Setting(What.COUNT, "Its port.", min=1, max=65_535)] = 587
    smtp_security: Annotated[
        str,
        Setting(
            What.CHOICE,
            "`none` only for a relay on this machine.",
            choices=("starttls", "tls", "none"),
        ),
    ] = "starttls"
    smtp_from: Annotated[
        str | None, Setting(What.TEXT, "The sender's address, with the mail server.")
    ] = None
    smtp_user: Annotated[str | None, Setting(What.TEXT, "Who logs in there.")] = None
    smtp_password_file: Annotated[
        str | None, Setting(What.TEXT, "A file with the password, which only its owner can read.")
    ] = None
    webhook_hosts: Annotated[
        tuple[str, ...],
        Setting(
            What.TEXTS,
            "Hosts that a patient's webhook may be on, by HTTPS; all others are refused: the node "
            "calls nothing in your own network.",
            max=100,
        ),
    ] = ()
    print_list: Annotated[
        str | None,
        Setting(
            What.TEXT,
            "A file of letters to print, for patients without mail; take it away when you have.",
        ),
    ] = None
    gather_ms: Annotated[
        int,
        Setting(
            What.DURATION,
            "So long reads are counted before they are told in one message.",
            min=0,
            max=7 * 86_400_000,
        ),
    ] = 3_600_000


class ReadingTable(Table, frozen=True, kw_only=True):
    """What this organisation's staff may say when they ask to read elsewhere."""

    sites: Annotated[
        tuple[str, ...],
        Setting(
            What.TEXTS,
            "Places (`SYSTEM|VALUE`) from where staff of this node may say that they read; patients "
            "can permit reading from such a place alone. One that is not listed is refused here. A "
            "single one is said by itself.",
            max=16,
        ),
    ] = ()


class Dev(Table, frozen=True, kw_only=True):
    """For test networks; refused unless `profile` is `dev`."""

    fault_injection: Annotated[
        bool,
        Setting(What.FLAG, "Allow `salus testnet partition`, `heal` and `delay`."),
    ] = False


class Config(Table, frozen=True, kw_only=True):
    """node.toml. Paths are relative to the home of the node."""

    version: Annotated[
        int, Setting(What.COUNT, "Of this file's format.", min=CONFIG_VERSION, max=CONFIG_VERSION)
    ] = CONFIG_VERSION
    profile: Annotated[
        str,
        Setting(What.CHOICE, "`dev` allows what a hospital must not do.", choices=("prod", "dev")),
    ] = "prod"
    p2p: P2P = P2P()
    api: Api = Api()
    mempool: Mempool = Mempool()
    storage: Storage = Storage()
    sync: SyncTable = SyncTable()
    records: Records = Records()
    log: Log = Log()
    metrics: MetricsTable = MetricsTable()
    keeper: KeeperTable = KeeperTable()
    outbox: OutboxTable = OutboxTable()
    reading: ReadingTable = ReadingTable()
    dev: Dev = Dev()


def toml_name(attribute: str, setting: Setting) -> str:
    """`idle_timeout_ms` is written `idle_timeout = "10s"`: the unit stands in the value."""
    if setting.what is What.DURATION:
        return attribute.removesuffix("_ms")
    return attribute.removesuffix("_bytes") if setting.what is What.SIZE else attribute


def settings() -> Iterator[tuple[str, str, str, Setting, Any]]:
    """Every setting: table («» at the top), key in node.toml, attribute, declaration, default."""
    tables: list[tuple[str, type[Table]]] = [("", Config)]
    tables += [
        (name, kind)
        for name, kind in get_type_hints(Config).items()
        if isinstance(kind, type) and issubclass(kind, Table)
    ]
    for table, kind in tables:
        defaults = kind()
        for attribute, hint in get_type_hints(kind, include_extras=True).items():
            setting = next((m for m in getattr(hint, "__metadata__", ())), None)
            if isinstance(setting, Setting):
                key = toml_name(attribute, setting)
                yield table, key, attribute, setting, getattr(defaults, attribute)
