"""What was planned for a run, and what came of it: for people, for a machine, and on disk."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.history.nemesis import Event
from tests.history.operation import Kind, Operation, Outcome

NODES = 4
REGISTER = (Kind.WRITE, Kind.SWAP, Kind.READ)


@dataclass(frozen=True)
class Plan:
    seed: int
    seconds: float
    clients_per_node: int = 2
    pause_s: float = 0.2  # of a client, on average between two operations
    namespaces: bool = True
    wipes: bool = False


@dataclass
class Report:
    plan: Plan
    wires: str
    operations: list[Operation]
    events: list[Event]
    faults: "Counter[str]"
    blocks: int = 0
    epochs: int = 0
    pairs: int = 0  # of the search, over all registers
    control: str = ""
    endings: "Counter[str]" = field(default_factory=Counter)  # of processes that were meant to end
    slowness: float = 1.0  # of the machine, beside a quiet one
    wrong: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.wrong

    def counted(self) -> dict[str, dict[str, int]]:
        """Kind (queries apart) → outcome → how many."""
        found: dict[str, dict[str, int]] = {}
        for operation in self.operations:
            name = f"{operation.kind} by query" if operation.query else str(operation.kind)
            row = found.setdefault(name, {outcome.value: 0 for outcome in Outcome})
            row[operation.outcome.value] += 1
        return dict(sorted(found.items()))

    def document(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "seed": self.plan.seed,
            "seconds": self.plan.seconds,
            "wires": self.wires,
            "operations": self.counted(),
            "faults": dict(sorted(self.faults.items())),
            "blocks": self.blocks,
            "epochs": self.epochs,
            "registers": len({o.key for o in self.operations if o.kind in REGISTER}),
            "sets": len({o.key for o in self.operations if o.kind not in REGISTER}),
            "pairs": self.pairs,
            "control": self.control,
            "endings": dict(sorted(self.endings.items())),
            "slowness": round(self.slowness, 1),
            "wrong": self.wrong,
        }

    def text(self) -> str:
        document = self.document()
        lines = [
            f"seed {self.plan.seed}, {self.plan.seconds:g} s, {NODES} nodes, lines: {self.wires}",
            "",
            f"{'operation':<16}{'done':>7}{'failed':>8}{'open':>7}",
        ]
        for name, row in document["operations"].items():
            lines.append(f"{name:<16}{row['done']:>7}{row['failed']:>8}{row['open']:>7}")
        faults = ", ".join(f"{kind} {n}" for kind, n in document["faults"].items())
        endings = ", ".join(f"{how} {n}" for how, n in document["endings"].items())
        lines += [
            "",
            f"faults: {faults or 'none'}",
            f"chain: {self.blocks} blocks, {self.epochs + 1} epochs, the same at all nodes",
            f"histories: {document['registers']} registers, {document['sets']} sets; "
            + f"{self.pairs} pairs searched",
            f"control: {self.control}",
            f"processes ended as they should: {endings or 'none'}",
            f"the machine was {self.slowness:.1f} times slower than a quiet one",
            "",
        ]
        if self.ok:
            lines.append("all is well: linearizable, nothing lost, nothing twice, no vote twice")
        else:
            lines += [f"WRONG: {line}" for line in self.wrong]
            lines += ["", "what happened to the nodes:", *map(str, self.events)]
        return "\n".join(lines)

    def save(self, directory: Path) -> None:
        """The whole history, one operation a line, and what happened to the nodes."""
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / "history.jsonl").open("w") as file:
            for operation in self.operations:
                file.write(json.dumps(operation.document()) + "\n")
        (directory / "events.txt").write_text("\n".join(map(str, self.events)) + "\n")
        (directory / "report.txt").write_text(self.text() + "\n")
