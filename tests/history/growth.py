"""Is the history of one grow-only set what a single, always reachable set would have given?

What was added before a read began must be in it; what nobody asked to add before it ended must not;
what one read showed every later one shows; and nothing was added twice. For a set that only grows
these say it all: order the reads by what they saw, and put each addition before the first that saw it.
"""

from collections.abc import Iterable

from tests.history.operation import Kind, Operation, Outcome


def check_set(history: Iterable[Operation]) -> list[str]:
    """What is wrong, in words; nothing if all is well."""
    operations = [o for o in history if o.outcome is not Outcome.FAILED]
    adds = [o for o in operations if o.kind is Kind.ADD]
    reads = sorted(
        (o for o in operations if o.kind is Kind.SEE and o.outcome is Outcome.DONE),
        key=lambda o: o.began_s,
    )
    wrong = []
    for read in reads:
        members, again = read.result
        for add in adds:
            element = add.argument[0]
            if element not in members and add.ended_s < read.began_s:
                wrong.append(f"lost: {add} is not in {read}")
            if element in members and add.began_s > read.ended_s:
                wrong.append(f"from the future: {add} is in {read}")
        wrong += [f"added twice: {element} in {read}" for element in sorted(again)]
        asked = {add.argument[0] for add in adds}
        wrong += [f"invented: {element} in {read}" for element in sorted(members - asked)]
    for earlier in reads:
        for later in reads:
            if earlier.ended_s < later.began_s:
                gone = earlier.result[0] - later.result[0]
                wrong += [f"vanished: {e} of {earlier} is not in {later}" for e in sorted(gone)]
            elif later is not earlier and later.began_s >= earlier.began_s:
                # Beside each other: in one order or the other, so one holds what the other does.
                one, other = earlier.result[0], later.result[0]
                wrong += [] if one <= other or other <= one else [f"two orders: {earlier}, {later}"]
    return wrong
