"""PBFT as docs/consensus.md and the paper tell it: what one honest replica may say, and must.

Written from the rules, with its own quorum arithmetic; nothing of the code is imported. A `Replica`
hears what a real one hears, in its order, and is told what it did; `Disagreement` says who did what
and what the model expected. It remembers all that arrived, where a real one may not (B25): so it
permits what messages permit, and demands what no lawful memory excuses (`heard`: vote[:4] → who said
it, and whose had to be counted). Invalid signatures are None; disks: see reference_disk.py.
"""

from collections import defaultdict, namedtuple
from typing import Any, Final

PRE_PREPARE: Final = "PRE-PREPARE"
PREPARE: Final = "PREPARE"
COMMIT: Final = "COMMIT"
CHECKPOINT, VIEW_CHANGE, NEW_VIEW = "CHECKPOINT", "VIEW-CHANGE", "NEW-VIEW"
VALID, INVALID, OFF_CLOCK = "VALID", "INVALID", "OFF_CLOCK"
BODIES_MIN = 4  # so many bodies of one sequence are surely remembered (B25)

Vote = namedtuple("Vote", "kind view sequence digest sender")
Prepared = namedtuple("Prepared", "view sequence digest proposer signers")  # signers: of PREPAREs
Certified = namedtuple("Certified", "height header signers")
# Sequence 0; their digest is the hash of their content. `low` is None at the epoch's base.
ViewChange = namedtuple("ViewChange", "kind view sequence digest sender low prepared")
NewView = namedtuple("NewView", "kind view sequence digest sender changes proposals")
# The epoch as everybody in it knows it, and who I am (−1: no member); `null` gives Null(s) (S11).
Place = namedtuple("Place", "me n epoch base window ahead_max null")
# A birth: votes by (kind, view, sequence), certificates, NEW-VIEW; the journal goes up to `reach`.
Disk = namedtuple("Disk", "votes prepared new_view certified floor reach epoch_end may_vote")


class Disagreement(AssertionError): ...


class Replica:
    def __init__(self, place: Any, disk: Any) -> None:
        """Rules S3, S4: a restart is in the same view, has the same wish and the same votes."""
        self.place, self.me, self.epoch = place, int(place.me), int(place.epoch)
        self.n, self.window, f = int(place.n), int(place.window), (int(place.n) - 1) // 3
        self.quorum, self.weak = (self.n + f) // 2 + 1, f + 1
        self.floor, self.epoch_end, self.mute = disk.floor, disk.epoch_end, disk.reach - self.window
        self.may_vote, self.certified = bool(disk.may_vote), int(disk.certified)
        self.low = self.executed = self.executing = self.writing = self.certified
        self.reached, self.said = dict.fromkeys(range(self.n), 0), dict(disk.votes)
        self.view, self.fixed = 0, dict[int, bytes]()  # what this view's NEW-VIEW chose
        self.heard: dict[Any, tuple[set[int], set[int]]] = defaultdict(lambda: (set(), set()))
        self.first, self.ahead = defaultdict[Any, dict[int, bytes]](dict), set[int]()
        self.proofs = {found[:3]: found for found in disk.prepared}  # certificates in the journal
        self.prepared: dict[int, tuple[int, bytes]] = {}  # of the highest view (S7)
        self.committed, self.surely_committed = dict[int, bytes](), set[int]()
        self.bodies = {found[1:3] for found in disk.prepared}
        self.stored, self.valid = set(self.bodies), set(self.bodies)
        self.judged, self.headers = dict[Any, str](), dict[int, bytes]()
        if disk.new_view is not None:
            self._install(disk.new_view)
        self.wish = max([self.view, *(v for kind, v, _ in self.said if kind == VIEW_CHANGE)])
        self.reaches(self.me, self.wish)
        for found in disk.prepared:
            self._prepare(found.view, found.sequence, found.digest)
            self._count(Vote(PRE_PREPARE, *found[:4]))
            for who in found.signers:
                self._count(Vote(PREPARE, found.view, found.sequence, found.digest, who))
        for (kind, view, sequence), digest in disk.votes.items():
            self._count(Vote(kind, view, sequence, digest, self.me))
            if (kind, view) == (PRE_PREPARE, self.view) and sequence not in self.fixed:
                self.valid.add((sequence, digest))

    def _need(self, holds: bool, what: Any, otherwise: str = "") -> None:
        if not holds:  # `what`: in words, or the vote that is signed
            does = what if type(what) is str else f"signs {what[0]} v{what[1]} s{what[2]}"
            edges = f"({self.low}, +{self.window}], floor {self.floor}, end {self.epoch_end}"
            where = f"reference model: n{self.me} in view {self.view}"
            raise Disagreement(f"{where} {does}{otherwise}; its window is {edges}")

    def primary(self, view: int) -> int:  # round robin, and from epoch to epoch as well (L22)
        return (self.epoch + view) % self.n

    def hear(self, said: Any) -> None:
        """A vote or VIEW-CHANGE of another member; a NEW-VIEW counts when it is entered."""
        if said[4] != self.me:
            self.reaches(said[4], said[1])
            if type(said) is Vote:
                self._count(said, said[1] == self.view == self.wish and self.votable(said[2]))

    def reaches(self, sender: int, view: int) -> None:
        self.reached[sender] = max(self.reached.get(sender, 0), view)

    def _count(self, vote: Vote, sure: bool = False) -> None:
        kind, view, sequence, digest, sender = vote
        if kind == (PREPARE if sender == self.primary(view) else PRE_PREPARE):
            return  # Only the primary proposes, and its PRE-PREPARE is its prepare, once (S5).
        voters, surely = self.heard[kind, view, sequence, digest]
        first = self.first[kind, view, sequence]
        first[sender] = digest if first.get(sender, digest) == digest else b""  # two (S5)
        if sender in surely or (sender in voters and not sure):
            return
        voters.add(sender)
        surely |= {sender} if sure and first[sender] else set()
        if kind == COMMIT and len(voters) >= self.quorum:
            agreed = self.committed.setdefault(sequence, digest) == digest
            self._need(agreed, vote, " as heard, and another is committed there (S6)")
            self.surely_committed |= {sequence} if len(surely) >= self.quorum else set()
            known = view <= self.view and sum(first[who] != b"" for who in voters) >= self.quorum
            known = known or sequence in self.surely_committed  # else it may be put aside
            (self.ahead.discard if known else self.ahead.add)(sequence)

    def holds(self, sequence: int, digest: bytes) -> None:
        if any(0 < sequence - low <= self.window for low in (self.certified, self.low)):
            self.bodies.add((sequence, digest))

    def checked(self, view: int, sequence: int, digest: bytes, verdict: str) -> None:
        self.judged[view, sequence, digest] = verdict
        if verdict != INVALID:
            self.valid.add((sequence, digest))

    def was_executed(self, height: int, header: bytes, epoch_end: int) -> None:
        if self.executed + 1 == height <= self.executing:
            self.executed, self.headers[height] = height, header
            self.epoch_end = self.epoch_end or epoch_end

    def was_certified(self, height: int, epoch_end: int = 0) -> None:
        """The block stands on my disk with its certificate, whoever made it (S12)."""
        self.epoch_end = self.epoch_end or epoch_end
        for name in ("certified", "low", "floor", "executed", "executing", "writing"):
            setattr(self, name, max(getattr(self, name), height))

    # -- what goes out: the normal case ---------------------------------------------------------
    def votable(self, sequence: int) -> bool:
        """Above watermark and floor, in the epoch and a window that holds all I said (S10, S12, S13)."""
        low, high = max(self.low, self.floor), self.low + self.window
        return self.mute <= self.low and low < sequence <= min(high, self.epoch_end or high)

    def says(self, said: Any) -> None:
        """A signature of mine. To say the same again is always allowed (L20)."""
        place: Any = said[:3]
        if self.said.get(place) != said[3]:
            self._need(self.may_vote, said, ", but is no member or lost its journal (S4)")
            self._need(place not in self.said, said, " beside an earlier, different one (S4)")
            self.said[place] = said[3]
            if type(said) is Vote:
                return self._vote(said)
            (self._view_change if said[0] == VIEW_CHANGE else self._new_view)(said)

    def _vote(self, vote: Vote) -> None:
        kind, view, sequence, digest, _ = vote
        place, body, null = vote[1:4], vote[2:4], digest == self.place.null(sequence)
        if kind == CHECKPOINT:
            mine = self.headers.get(sequence) == digest
            mine = mine and sequence > self.floor and self.mute <= self.low
            return self._need(mine, vote, ", a header that its execution did not give (S12)")
        self._need(view == self.view == self.wish, vote, ", but is in no such view (S7)")
        self._need(self.votable(sequence), vote, ", outside its window (S10, S12, S13)")
        agreed = None if sequence in self.ahead else self.committed.get(sequence)
        same = self.fixed.get(sequence, digest) == digest and agreed in (None, digest)
        self._need(same, vote, ", but another is fixed or another is committed there (S6, S9)")
        self._need(null or body in self.bodies, vote, " without holding its body (S3)")
        if kind == PRE_PREPARE:
            made = self.primary(view) == self.me and self.judged.get(place) == VALID
            self._need(made, vote, ", but is no primary that made this body (S6, S15)")
        else:
            self._need((PRE_PREPARE, *place) in self.heard, vote, ", never proposed (S6)")
            verdict, good = self.judged.get(place), self.judged.get(place) == VALID
            if verdict is None or (verdict == OFF_CLOCK and kind == COMMIT):
                good = body in self.valid or (null and sequence in self.fixed)
            self._need(good, vote, ", which is not found valid, or off the clock (S15, L21)")
        if kind == COMMIT:
            proof, count = self.proofs.get(place), len(self.heard[PREPARE, *place][0])
            self._need(count >= self.quorum - 1, vote, ", no quorum prepares it (S5, S6)")
            proved = proof is not None and self._is_prepared(proof, view + 1, self.low)
            self._need(proved, vote, " without a prepared certificate in its journal (S3)")
            self._need(body in self.stored, vote, " before its body is stored (S3)")
            self._prepare(*place)
        self._count(vote, sure=True)

    def _prepare(self, view: int, sequence: int, digest: bytes) -> None:
        self.prepared[sequence] = max(self.prepared.get(sequence, (-1, b"")), (view, digest))

    def asks(self, view: int, sequence: int, digest: bytes, first: bool) -> None:
        anew = first and view == self.view and sequence in self.fixed
        self._need(not anew, f"has s{sequence}, a re-proposal, judged like a first one (L21)")
        self._need((sequence, digest) in self.bodies, f"has s{sequence} judged without body (S3)")

    def executes(self, sequence: int, digest: bytes) -> None:
        what = f"executes s{sequence} {digest[:3].hex()}"
        self._need(sequence == self.executing + 1, what, ", which is not the next one (S6)")
        proved = self.committed.get(sequence) == digest
        self._need(proved, what, " without a quorum of COMMITs of one view (S6)")
        self._need((sequence, digest) in self.stored, what, " before its body is stored (S3)")
        near = sequence <= self.certified + self.place.ahead_max
        self._need(near, what, ", too far above what is certified (B28)")
        self.executing = sequence

    def writes(self, block: Any) -> None:
        what, mine = f"writes block {block.height}", self.headers.get(block.height) == block.header
        self._need(self._is_certified(block), what, " without a quorum of CHECKPOINTs for it (S12)")
        self._need(mine and block.height == self.writing + 1, what, ", not its next own (S12)")
        self.writing = block.height

    def must(self, heard: Any = None) -> None:
        """At the end of a step (`heard`: the PREPARE that it began with): what has to follow."""
        due = self.executing + 1
        if due in self.surely_committed and due <= self.certified + self.place.ahead_max:
            held = [digest for sequence, digest in self.bodies if sequence == due]
            excused = self.committed[due] not in held or len(held) > BODIES_MIN
            self._need(excused, f"does not execute s{due}, which {self.quorum} COMMITs prove (S6)")
        if heard is None or len(self.heard[heard[:4]][1]) < self.quorum - 1:
            return
        _, view, sequence, digest, _ = heard
        mine = (PRE_PREPARE if self.primary(view) == self.me else PREPARE, view, sequence)
        ready = self.said.get(mine) == digest and view == self.wish and self.votable(sequence)
        ready = ready and (sequence, digest) in self.bodies and (sequence, digest) in self.valid
        done = not ready or (COMMIT, view, sequence) in self.said
        self._need(done, f"does not COMMIT s{sequence}, which is prepared in its view (S6)")

    # -- what goes out: the view change ---------------------------------------------------------
    def _view_change(self, said: Any) -> None:
        """S7: exactly what I have prepared above a proved watermark; L18, L19: not too far."""
        others = sorted((v for i, v in self.reached.items() if i != self.me), reverse=True)
        there = sorted(self.reached.values(), reverse=True)[self.quorum - 1]
        most = max([there + 1, *others[self.weak - 1 : self.weak]])
        self._need(self.wish < said.view <= most, said, f", but may up to {most} (L18, L19)")
        self._need(max(self.floor, self.mute) <= self.low, said, ", but may not vouch yet (S12)")
        low, proved = self._low_of(said), self._is_vouched(said, said.view)
        self._need(proved, said, " with a watermark or certificate that is none (S7, S8)")
        self._need(low == self.low, said, f" from {low}, its low watermark is {self.low} (S7, S10)")
        told = [(p.sequence, (p.view, p.digest)) for p in said.prepared]
        known = sorted(place for place in self.prepared.items() if place[0] > low)
        texts = [[f"s{s}v{v}:{d[:3].hex()}" for s, (v, d) in each] for each in (told, known)]
        self._need(told == known, said, f", tells {texts[0]}, has prepared {texts[1]} (S7)")
        self.wish = said.view
        self.reaches(self.me, said.view)

    def _new_view(self, said: Any) -> None:
        self._need(said.view == self.wish > self.view, said, f", but asks for {self.wish} (S9)")
        self.enters(said)
        for sequence, digest in self.fixed.items():
            far = not 0 < sequence - self.certified <= self.window  # no bodies are kept there
            held = far or digest == self.place.null(sequence) or (sequence, digest) in self.bodies
            self._need(held, said, f" and has not the body of s{sequence} (S3)")
            self.said[PRE_PREPARE, said.view, sequence] = digest

    def enters(self, made: Any) -> None:
        """S9: only by what follows from q VIEW-CHANGEs; S7: never a view that I gave up."""
        what, follows = f"enters view {made.view}", self.follows(made)
        self._need(follows, f"{what} without {self.quorum} VIEW-CHANGEs that force it (S8, S9)")
        kept = made.view > self.view and not (self.may_vote and made.view < self.wish)
        self._need(kept, f"{what}, but gave up all below {self.wish} (S7)")
        self._install(made)

    def _install(self, made: Any) -> None:
        """S10: its low watermark, also where I executed less; S9: its proposals are fixed."""
        self.view = self.wish = made.view
        self.low = max(self.low, *map(self._low_of, made.changes))
        for member in (self.me, *(change.sender for change in made.changes)):
            self.reaches(member, made.view)
        self.fixed = {vote.sequence: vote.digest for vote in made.proposals}
        for vote in made.proposals:
            self._count(vote)
        # What lies between my two windows may be forgotten, though I had heard it.
        self.surely_committed &= {*range(self.certified, self.certified + self.window + 1)}

    def follows(self, made: Any) -> bool:
        """S9: of its primary, q VIEW-CHANGEs of distinct members, and the choice that they force."""
        members = {change.sender for change in made.changes if change is not None}
        counted = len(members) == len(made.changes) == self.quorum
        led = made.sender == self.primary(made.view)
        vouched = all(self._is_vouched(change, made.view) for change in made.changes if change)
        return led and counted and vouched and made.proposals == self._choice(made)

    def _choice(self, made: Any) -> tuple[Vote, ...]:
        """The highest low watermark; above it what the highest view prepared, null in the gaps."""
        low, best = max(map(self._low_of, made.changes)), dict[int, tuple[int, bytes]]()
        for found in (each for change in made.changes for each in change.prepared):
            known = best.get(found.sequence, (-1, b""))
            best[found.sequence] = max(known, (found.view, found.digest))
        for gap in range(low + 1, max(best, default=low) + 1):
            best.setdefault(gap, (-1, self.place.null(gap)))
        chosen = sorted((place, digest) for place, (_, digest) in best.items() if place > low)
        return tuple(Vote(PRE_PREPARE, made.view, *each, made.sender) for each in chosen)

    def _is_vouched(self, change: Any, view: int) -> bool:
        """S8, and S7: the proof of its low watermark."""
        low = self._low_of(change)
        places = [low, *(found.sequence for found in change.prepared)]
        base = change.low is None or (low > self.place.base and self._is_certified(change.low))
        sound = base and change.view == view and places == sorted(set(places))
        return sound and all(self._is_prepared(found, view, low) for found in change.prepared)

    def _low_of(self, change: Any) -> int:
        return change.low.height if change.low else self.place.base

    def _is_prepared(self, found: Any, below: int, low: int) -> bool:
        """S6, S8: of an older view and its primary, in the window, q−1 others beside it."""
        others = set(found.signers) - {None, found.proposer}
        counted = len(others) == len(found.signers) == self.quorum - 1
        led = found.view < below and found.proposer == self.primary(found.view)
        return counted and led and low < found.sequence <= low + self.window

    def _is_certified(self, block: Any) -> bool:
        return len(set(block.signers) - {None}) == len(block.signers) >= self.quorum
