"""Which peers this node dials: as configured, by the keys that they have now."""

from collections.abc import Iterable
from dataclasses import replace

from node.net.network import Network
from node.net.peer import PeerAddress
from node.roster import Roster


def current(roster: Roster, configured: Iterable[PeerAddress]) -> list[PeerAddress]:
    """A key that a vote has replaced is written in configurations for long."""
    return [
        replace(address, public_key=roster.current_key(address.public_key))
        for address in configured
    ]


class Dialling:
    """The addresses stay; their keys may change with any epoch."""

    def __init__(self, network: Network, roster: Roster, configured: Iterable[PeerAddress]) -> None:
        self._network, self._roster, self.configured = network, roster, tuple(configured)

    def dial(self, configured: Iterable[PeerAddress]) -> None:
        """From now on these as well."""
        self.configured = tuple(configured)
        self.again()

    def again(self) -> None:
        """Those with a key that was replaced, by the new one."""
        self._roster.pin(address.public_key for address in self.configured)
        for address in current(self._roster, self.configured):
            self._network.add_peer(address)
