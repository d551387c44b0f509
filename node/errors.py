"""The exception tree of the node: what can be wrong outside the node while it runs.

    SalusError
    └── NodeError
        ├── ConfigError        node.toml, environment or command line; carries all problems at once
        ├── UpgradeNeeded      the next epoch runs contracts that this software lacks
        ├── NodeBusy           a bounded queue is full: try again (429, 503)
        └── NetworkError       a peer or the way to it
            ├── PeerRefused    the other side said no, with its reason
            ├── WrongKey       another key answered than the one that was dialled
            └── BadFrame       bytes that are no frame, or a frame that is not legal here

`node.errors` names what is wrong with others; what is wrong with us is an `assert`.
"""

from dataclasses import dataclass

from salus.errors import SalusError


class NodeError(SalusError):
    """Base of the node's own errors."""

    code = "NODE_ERROR"


class NodeBusy(NodeError):
    """A bounded queue of this node is full; the same request may succeed later."""

    code = "NODE_BUSY"


class UpgradeNeeded(NodeError):
    """The chain goes on with newer software; this node stops before the block that needs it."""

    code = "UPGRADE_NEEDED"


class NetworkError(NodeError):
    """A peer, or the way to a peer, is at fault."""

    code = "PEER_UNREACHABLE"


class PeerRefused(NetworkError):
    """The peer answered our handshake with a refusal; `code` is its reason."""

    code = "PEER_REFUSED"


class WrongKey(NetworkError):
    """At the dialled address another key answered: wrong host, or the key was rotated."""

    code = "PEER_WRONG_KEY"


class BadFrame(NetworkError):
    """Not a frame of the wire format, too large, or not legal at this point."""

    code = "BAD_FRAME"


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One fault of the configuration: where it stands, what is wrong, what was perhaps meant."""

    code: str
    source: str  # "node.toml:14", "SALUS_P2P__LISTEN" or "--set p2p.listen"
    path: str  # "p2p.listen"
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        hint = f" Did you mean «{self.suggestion}»?" if self.suggestion else ""
        return f"error[{self.code}] {self.source}: {self.message}.{hint}"


class ConfigError(NodeError):
    """The configuration cannot be used; `problems` names every fault, not only the first."""

    code = "CONFIG_INVALID"

    def __init__(self, problems: tuple[ConfigProblem, ...]) -> None:
        assert problems
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
