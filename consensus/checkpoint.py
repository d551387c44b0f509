"""Every block is certified: headers, CHECKPOINTs, certificates, truncation (rules S12, L24).

My header is journalled before its CHECKPOINT leaves; q equal ones are the certificate; the block
is written with it in one batch; only when that stands on my disk does the log forget it.
"""

from consensus.effects import WriteBlock
from consensus.events import BlockWritten, CaughtUp, Executed
from consensus.messages import Checkpoint
from consensus.state import State
from consensus.votes import Ballot, block_certificate
from salus.certificate import Certificate
from salus.vote import VoteType


def on_executed(s: State, event: Executed) -> None:
    """My header of a height: sign it, unless a quorum or my own journal says otherwise."""
    log, height = s.log, event.sequence
    if height != log.executed + 1 or height > log.executing:
        return  # A sync has passed this height meanwhile.
    log.executed = height
    s.headers[height] = event.header_hash
    set_epoch_end(s, event.epoch_end)
    certificate = s.certificates.get(height)
    if certificate is not None and certificate.header_hash != event.header_hash:
        s.halt("a quorum certified another header than mine", height)
        return
    before = s.voter.signed(VoteType.CHECKPOINT, 0, height)
    if before not in (None, event.header_hash):
        s.halt("execution gave another header than before my restart", height)
        return
    say_header(s, height)


def say_header(s: State, height: int) -> None:
    """My CHECKPOINT of what I have executed, where I may sign one."""
    ballot, header_hash = s.checkpoints.setdefault(height, Ballot()), s.headers[height]
    if s.voter.free(VoteType.CHECKPOINT, 0, height, header_hash):
        vote = s.voter.vote(Checkpoint, 0, height, header_hash, s.out)
        s.send(vote)
        ballot.add(vote)
        if height not in s.certificates and ballot.count(header_hash) >= s.quorum:
            _certify(s, height, header_hash, ballot)
    _check_divergence(s, height, ballot)


def on_checkpoint(s: State, message: Checkpoint) -> None:
    log, height = s.log, message.sequence
    if not log.near(height) or message.view != 0:
        return
    if message.sender >= s.n or s.is_mine(message):
        return
    if height in s.certificates:
        return  # Late: the certificate is complete.
    ballot = s.checkpoints.setdefault(height, Ballot())
    if ballot.has(message) or message.sender in ballot.exposed or not s.verified(message):
        return
    earlier = ballot.add(message)
    if earlier is not None:
        ballot.exposed.append(message.sender)
        s.expose(earlier, message)
        return
    if ballot.count(message.digest) >= s.quorum:
        _certify(s, height, message.digest, ballot)
    _check_divergence(s, height, ballot)


def _certify(s: State, height: int, header_hash: bytes, ballot: Ballot[Checkpoint]) -> None:
    certificate = block_certificate(s.epoch, height, header_hash, ballot, s.quorum)
    learn_certificate(s, certificate)


def learn_certificate(s: State, certificate: Certificate) -> None:
    """A verified certificate, of whatever origin: kept for a block that I still have to execute;
    what I cannot execute is fetched (rules S12, S14, L20)."""
    height = certificate.height
    if height <= s.log.certified:
        return
    s.check_own_signature(certificate)
    s.proved = max(s.proved, height)
    if not s.log.near(height):
        return  # Too far to keep; the blocks bring their certificates with them.
    s.certificates.setdefault(height, certificate)
    mine = s.headers.get(height)
    if mine is not None and mine != certificate.header_hash:
        s.halt("a quorum certified another header than mine", height)


def _check_divergence(s: State, height: int, ballot: Ballot[Checkpoint]) -> None:
    """Rule L24: f+1 members sign one header different from mine, so an honest one does; or the
    height has split so far that no header can reach a quorum."""
    digests, mine = ballot.digests(), s.headers.get(height)
    if not digests or (len(digests) == 1 and (mine is None or mine in digests)):
        return  # The normal case.
    for digest in digests:
        if mine is not None and digest != mine and ballot.count(digest) >= s.weak:
            s.halt(f"{ballot.count(digest)} members signed another header than mine", height)
            return
    silent = s.n - len(ballot.votes)
    if max((ballot.count(digest) for digest in digests), default=0) + silent < s.quorum:
        s.split_height = max(s.split_height, height)


def write(s: State) -> None:
    """Hand out what is executed here and certified, in order."""
    log = s.log
    while log.writing < log.executed and (log.writing + 1) in s.certificates:
        log.writing += 1
        s.deliver(WriteBlock(log.writing, s.certificates[log.writing]))


def on_block_written(s: State, event: BlockWritten) -> None:
    if event.height > s.log.certified:
        # A sync may have written it; then its CaughtUp follows and brings the certificate.
        certificate = s.certificates.get(event.height)
        if certificate is not None:
            _settle(s, event.height, certificate)


def on_caught_up(s: State, event: CaughtUp) -> None:
    height, certificate = event.height, event.certificate
    assert certificate.height == height
    assert certificate.epoch == s.epoch, "one replica object lives for one epoch (S13)"
    set_epoch_end(s, event.epoch_end)
    if height <= s.log.certified:
        return
    s.check_own_signature(certificate)
    mine = s.headers.get(height)
    if mine is not None and mine != certificate.header_hash:
        s.halt("a quorum certified another header than mine", height)
        return
    settled = s.log.settled
    _settle(s, height, certificate)
    if s.log.settled > settled:  # else I knew its commit, and the primary has done nothing since
        s.progressed()


def _settle(s: State, height: int, certificate: Certificate) -> None:
    """The block is on my disk with its certificate: the log below is done with."""
    before = s.log.certified
    s.log.certify(height, certificate)
    s.proved = max(s.proved, height)
    s.voter.forget(height)
    for settled in range(before + 1, height + 1):
        s.checkpoints.pop(settled, None)
        s.headers.pop(settled, None)
        s.certificates.pop(settled, None)


def forget_between(s: State) -> None:
    """A low watermark was adopted: nothing is kept between the two windows (S10, B25)."""
    for kept in (s.checkpoints, s.certificates):
        for height in [h for h in kept if not s.log.near(h)]:
            del kept[height]


def set_epoch_end(s: State, epoch_end: int) -> None:
    """Rule S13: fixed once, by execution, the same everywhere."""
    if epoch_end:
        assert s.log.epoch_end in (0, epoch_end), "the end of an epoch is fixed once"
        s.log.epoch_end = epoch_end
