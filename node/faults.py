"""Faults on purpose, for `salus testnet partition | heal | delay` ([dev] fault_injection)."""

from node.net.network import Network
from salus.forms import Faults


class FaultSwitch:
    """One setting for the whole node; setting it replaces the last one."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._now = Faults((), 0)

    def get(self) -> Faults:
        return self._now

    def set(self, blocked: frozenset[str], delay_ms: int) -> Faults:
        """`blocked`: members that neither reach us nor are reached; `delay_ms`: to everybody."""
        for peer in self._network.peers():
            if peer.member in blocked:
                self._network.block(peer.member)
            elif peer.member in self._now.blocked:
                self._network.unblock(peer.member)
            self._network.delay_ms(peer.member, delay_ms)
        self._now = Faults(tuple(sorted(blocked)), delay_ms)
        return self._now
