"""How many tickets a member, and one person of it, may cost the ledger (rule G-18).

A ticket stays on every node for ever: 2 kB in a full block, 25 kB where a block is made for it alone.
Law of the file: memory only, time is a number that arrives; a count is begun by a ticket and forgotten
when its allowance is whole again.
"""

from collections.abc import Callable

from salus.errors import SalusError

# A hospital of 3,000 staff opens some 150,000 records a day: 2 a second, 5 in the busiest hour. What goes
# on for longer is a script; it costs every node 0.9 GB a day at the most.
MEMBER_TICKETS_PER_S = 5.0
MEMBER_TICKETS_AT_ONCE_MAX = 3_000  # saved up in ten quiet minutes
# One person's script must not use up what colleagues need.
PERSON_TICKETS_PER_S = 1.0
PERSON_TICKETS_AT_ONCE_MAX = 1_500

# Patients have an allowance of their own, as large: however many look at their own records, no doctor
# waits for them. One patient is one person by whichever of his keys, his delegates' counted.
_Name = tuple[str, str | bytes]  # whose, and of which kind


class TicketRates:
    """Of one custodian. `clock`: seconds that only grow."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._whole_s: dict[_Name, float] = {}  # when the allowance of a name is whole again

    def __len__(self) -> int:
        return len(self._whole_s)

    def take(self, member: str, person: bytes, patient: bytes | None = None) -> None:
        """One ticket is about to be sent. `person`: the key of one of its staff; `patient`: the handle, of
        who asks for his own. Raises `SalusError` (TICKET_RATE): none now, one more after a second."""
        whole: _Name = ("staff of", member) if patient is None else ("patients at", member)
        one: _Name = ("staff", person) if patient is None else ("patient", patient)
        now_s = self._clock()
        after: dict[_Name, float] = {}
        for name, per_s, at_once_max in (
            (whole, MEMBER_TICKETS_PER_S, MEMBER_TICKETS_AT_ONCE_MAX),
            (one, PERSON_TICKETS_PER_S, PERSON_TICKETS_AT_ONCE_MAX),
        ):
            after[name] = max(now_s, self._whole_s.get(name, now_s)) + 1 / per_s
            if after[name] > now_s + at_once_max / per_s:
                raise SalusError("too many tickets of this member or person", code="TICKET_RATE")
        self._whole_s.update(after)

    def forget_whole(self) -> None:
        """Whoever has asked for little is as one who never asked."""
        now_s = self._clock()
        for name in [name for name, whole_s in self._whole_s.items() if whole_s <= now_s]:
            del self._whole_s[name]
