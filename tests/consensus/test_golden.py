"""Transcripts of whole runs, to be read; the rules they show stand in their comments."""

from pathlib import Path

import pytest

from consensus.events import Complain
from tests import transcript
from tests.consensus.cluster import Cluster

FILES = sorted((Path(__file__).parent / "golden").glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_transcript(path: Path, rewrite: bool) -> None:
    cluster = Cluster()
    cluster.quiet = True
    cluster.tick()

    brief = False  # leave the votes out: they were shown before

    def handle(line: str) -> str:
        nonlocal brief
        command, *words = line.split()
        cluster.log.clear()
        match command:
            case "submit":
                for word in words:
                    cluster.submit(word)
                cluster.settle()
            case "tick":
                cluster.tick(int(words[0]))
            case "lose":
                cluster.lost.append((words[0], int(words[1])))
            case "isolate":
                cluster.isolate(*map(int, words))
            case "heal":
                cluster.heal()
            case "crash":
                cluster.crash(int(words[0]))
            case "restart":
                cluster.restart(int(words[0]))
            case "wipe-journal":
                node = cluster.nodes[int(words[0])]
                cluster.crash(node.index)
                node.journal.clear()
                cluster.restart(node.index, voting=False)
            case "complain":
                for word in words:
                    cluster.step(cluster.nodes[int(word)], Complain())
                cluster.settle()
            case "brief":
                brief = not brief
            case "status":
                cluster.log.extend(status(cluster))
            case _:
                raise ValueError(f"unknown command {command}")
        return "\n".join(said for said in cluster.log if not (brief and is_vote(said)))

    transcript.check(path, handle, rewrite=rewrite)


def is_vote(line: str) -> bool:
    return any(word in line for word in ("  Prepare", "  Commit", "  Checkpoint", " executes "))


def status(cluster: Cluster) -> list[str]:
    lines = []
    for node in cluster.nodes:
        shot = node.replica.snapshot()
        if not node.up:
            lines.append(f"{node.index} down")
            continue
        view = f"view {shot.view}" + (f", wish {shot.wish}" if shot.in_view_change else "")
        voting = "" if shot.voting else ", not voting"
        lines.append(f"{node.index} epoch {shot.epoch}, {view}, certified {shot.certified}{voting}")
    return lines


def test_every_transcript_is_there() -> None:
    """The six runs that the design asks for."""
    assert [path.stem for path in FILES] == [
        "catch_up",
        "epoch_change",
        "new_view_with_gaps",
        "normal_case",
        "rejoin",
        "view_change",
    ]
