"""What one seed means: the size of the cluster, its parameters, its faults and its liars.

Swarm testing: each seed draws its own mix. A run with every fault at once mostly tests the
faults; a run with two of them and none of the others gets further into the state space.
"""

from dataclasses import dataclass, field
from random import Random

from salus.parameters import Parameters
from tests.sim import scenes, traps, weather
from tests.sim.faults import CHANGES, LIARS, Change, Crash, CrashMode, Cut, Loss, Politics
from tests.sim.poison import VERSIONS

TICK_MS = 100
POOL_TRANSACTIONS_MAX = 16  # also the measure of fairness (L17)
LOAD_STRETCH = 3  # the load goes on while a quiet run waits for enough events


@dataclass(slots=True)
class Plan:
    """Everything that a seed decides before the first event. Times in simulated milliseconds."""

    seed: int
    n: int
    parameters: Parameters
    heal_at: float
    # Network, by directed link where it is a list of rows.
    loss: float = 0.0
    duplicate: float = 0.0
    tail: float = 0.0  # share of messages that take ten times as long
    base_ms: list[list[float]] = field(default_factory=list)
    jitter_ms: float = 10.0
    cuts: list[Cut] = field(default_factory=list)
    # Nodes.
    backups: list[tuple[float, int]] = field(default_factory=list)  # when an image is taken
    crashes: list[Crash] = field(default_factory=list)
    jumps: list[tuple[float, int, float]] = field(default_factory=list)  # of a clock, by so much
    full: list[tuple[float, int, float]] = field(default_factory=list)  # a disk, for so long
    pauses: list[tuple[float, int, float]] = field(default_factory=list)  # SIGSTOP
    stalls: list[tuple[float, int, float]] = field(
        default_factory=list
    )  # a disk hangs, for so long
    no_checkpoints: tuple[float, float] | None = None  # from when to when none arrives
    ambush_ms: float = 0.0  # so long the primary is gone once an epoch's end is fixed, and all idle
    misfits: list[tuple[float, int]] = field(default_factory=list)  # votes that contradict others
    contract_bit: bool = False  # the bit that flips in a state store is one that a contract reads
    relapse: int | None = None  # whose state falls back behind a NEW-VIEW that its journal holds
    needed: int | None = None  # whose state is replaced by one older than its window
    late_divergence: bool = False  # who diverges does so only after a restart
    schism: bool = (
        False  # more than f diverge: no header reaches a quorum, and no work is done (L24)
    )
    skew_ms: list[float] = field(default_factory=list)
    tick_rate: list[float] = field(default_factory=list)
    persist_ms: float = 2.0
    # Lies: member index → behaviours.
    liars: dict[int, tuple[str, ...]] = field(default_factory=dict)
    politics: list[Politics] = field(default_factory=list)
    observers: int = 0  # members without a vote, behind the validators
    # Load: (time, node, count).
    load: list[tuple[float, int, int]] = field(default_factory=list)
    # How the shell may differ lawfully.
    codec: bool = False  # every message goes through its bytes

    @property
    def faulty(self) -> set[int]:
        """Members whose key may have signed anything."""
        # A flipped bit in the newest record of a journal looks like a torn one, so its votes are
        # lost unnoticed.
        unnoticed = (Loss.UNNOTICED, Loss.JOURNAL_BIT)
        amnesiac = {crash.node for crash in self.crashes if crash.loss in unnoticed}
        return amnesiac | set(self.liars)

    @property
    def losers(self) -> set[int]:
        """Members whose disk loses more than a power cut may take: they count among the f."""
        losers = {crash.node for crash in self.crashes if crash.loss is not Loss.NOTHING}
        return losers | {i for i in (self.relapse, self.needed) if i is not None}

    def describe(self) -> list[str]:
        p = self.parameters
        size = (
            f"seed {self.seed}: n = {self.n}, L = {p.watermark_window}, "
            f"{p.in_flight_proposals_max} in flight, {p.execute_ahead_max} ahead, "
            f"epochs of {p.epoch_blocks_max}, timeouts {p.progress_timeout_ms} and "
            f"{p.view_change_timeout_ms} ms, doubled {p.timeout_doublings_max} times at most"
        )
        weather = (
            f"network until {self.heal_at:.0f} ms: loss {self.loss:.2f}, twice "
            f"{self.duplicate:.2f}, slow {self.tail:.2f}, jitter {self.jitter_ms:.0f} ms; persist "
            f"{self.persist_ms:.1f} ms"
        )
        lines = [size, weather]
        lines += [f"liar n{i}: {', '.join(names)}" for i, names in sorted(self.liars.items())]
        lines += [f"{cut.start:.0f}–{cut.end:.0f} ms: {cut.name}" for cut in self.cuts]
        lines += [
            f"{crash.time:.0f} ms: n{crash.node} crashes ({crash.mode.value}) for "
            f"{crash.down_ms:.0f} ms, loses {crash.loss.value}"
            for crash in self.crashes
        ]
        lines += [f"{t:.0f} ms: the clock of n{i} jumps by {d:+.0f} ms" for t, i, d in self.jumps]
        lines += [f"{t:.0f} ms: the disk of n{i} is full for {d:.0f} ms" for t, i, d in self.full]
        lines += [f"{p.time:.0f} ms: {p.change.value} n{p.target}" for p in self.politics]
        lines += [f"{t:.0f} ms: n{i} stands still for {d:.0f} ms" for t, i, d in self.pauses]
        lines += traps.describe(self)
        return lines


def draw(seed: int) -> Plan:
    """The plan of a seed. The order of the draws is part of the meaning of a seed."""
    r = Random(seed)
    n = r.choices((4, 5, 6, 7, 1, 2, 3), (76, 7, 6, 8, 1, 1, 1))[0]
    f = (n - 1) // 3
    heal_at = float(r.randrange(1_200, 3_600))
    plan = Plan(seed, n, _parameters(r), heal_at)
    _draw_network(r, plan)
    _draw_nodes(r, plan)
    budget = f if r.random() < 0.8 else 0
    # A lost journal counts among the f (S4); so does a liar.
    victims = r.sample(range(n), budget)
    for member in victims:
        if r.random() < 0.72:
            names = tuple(sorted({*r.sample(LIARS, r.choice((1, 1, 1, 2, 3)))}))
            for alone in ("twins", "diverged"):
                if alone in names:
                    names = (alone,)
            plan.liars[member] = names
    _draw_crashes(r, plan, [v for v in victims if v not in plan.liars])
    if 4 <= n <= 6 and r.random() < 0.3:
        _draw_politics(r, plan)
    _draw_load(r, plan)
    if r.random() < 0.08:
        _draw_blackouts(r, plan)
    plan.codec = r.random() < 0.06
    weather.draw(plan)
    traps.draw(plan)
    scenes.draw(plan)
    return plan


def _parameters(r: Random) -> Parameters:
    window = r.choice((8, 8, 8, 9, 12, 16))
    in_flight = r.choice((1, 2, 4, 4))
    return Parameters(
        watermark_window=window,
        in_flight_proposals_max=in_flight,
        execute_ahead_max=r.choice((1, 2, 3, window - in_flight - 1)),
        epoch_blocks_max=r.choice((window, 2 * window, 40, 100_000, 100_000)),
        tick_ms=TICK_MS,
        progress_timeout_ms=r.choice((400, 600, 1_000)),
        view_change_timeout_ms=r.choice((400, 600, 1_000)),
        timeout_doublings_max=r.choice((1, 2, 2, 3, 6)),
        clock_drift_max_ms=1_000,
        block_transactions_max=4,
        state_bucket_bits=4,
        expiry_window_blocks=512,
        pool_transactions_max=POOL_TRANSACTIONS_MAX,
        transaction_operations_max=4,
        keys_touched_max=256,
        contracts=VERSIONS,
    )


def _draw_network(r: Random, plan: Plan) -> None:
    n = plan.n
    nodes = n + 1  # a twin stands last and shares the weather
    if r.random() < 0.6:
        plan.loss = r.choice((0.01, 0.03, 0.1, 0.2))
    if r.random() < 0.4:
        plan.duplicate = r.choice((0.01, 0.1))
    if r.random() < 0.4:
        plan.tail = r.choice((0.02, 0.1))
    plan.jitter_ms = r.choice((2.0, 20.0, 80.0))
    plan.base_ms = [[2.0] * nodes for _ in range(nodes)]
    if r.random() < 0.25:  # slow links
        for _ in range(r.randrange(1, n + 1)):
            plan.base_ms[r.randrange(n)][r.randrange(n)] = r.choice((60.0, 200.0, 500.0))
    if n > 1 and r.random() < 0.5:
        for _ in range(r.randrange(1, 5)):
            start = r.random() * plan.heal_at
            end = min(plan.heal_at, start + r.choice((300.0, 1_000.0, 3_000.0)))
            blocked, name = _draw_cut(r, n)
            plan.cuts.append(Cut(start, end, frozenset(blocked), name))


def _draw_cut(r: Random, n: int) -> tuple[set[tuple[int, int]], str]:
    kind = r.randrange(4)
    if kind == 0:  # one node alone
        alone = r.randrange(n)
        links = {(alone, i) for i in range(n)} | {(i, alone) for i in range(n)}
        return links, f"n{alone} cut off"
    if kind == 1:  # two sides
        side = [r.random() < 0.5 for _ in range(n)]
        links = {(i, j) for i in range(n) for j in range(n) if side[i] != side[j]}
        return links, "two sides " + "".join("ab"[s] for s in side)
    if kind == 2:  # asymmetric: one is heard and hears nothing, or the other way round
        alone = r.randrange(n)
        if r.random() < 0.5:
            return {(i, alone) for i in range(n)}, f"n{alone} deaf"
        return {(alone, i) for i in range(n)}, f"n{alone} mute"
    links = {(i, j) for i in range(n) for j in range(n) if r.random() < 0.35}
    return links, "links cut at random"  # neither symmetric nor transitive


def _draw_nodes(r: Random, plan: Plan) -> None:
    nodes = plan.n + 1
    skewed = r.random() < 0.3
    plan.skew_ms = [r.uniform(-300.0, 300.0) if skewed else 0.0 for _ in range(nodes)]
    plan.tick_rate = [r.uniform(0.85, 1.15) for _ in range(nodes)]
    plan.persist_ms = r.choice((0.5, 3.0, 20.0, 60.0))
    if r.random() < 0.15:
        for _ in range(r.randrange(1, 3)):
            jump = r.choice((-3_000.0, -500.0, 500.0, 3_000.0))
            plan.jumps.append((r.random() * plan.heal_at, r.randrange(plan.n), jump))
    if r.random() < 0.1:
        for _ in range(r.randrange(1, 3)):
            length = r.choice((100.0, 400.0, 1_500.0))
            plan.full.append((r.random() * plan.heal_at, r.randrange(plan.n), length))
    if r.random() < 0.15:
        for _ in range(r.randrange(1, 4)):
            length = r.choice((200.0, 1_500.0))
            plan.pauses.append((r.random() * plan.heal_at, r.randrange(plan.n), length))


def _draw_crashes(r: Random, plan: Plan, losers: list[int]) -> None:
    n, modes = plan.n, list(CrashMode)
    weights = (2, 5, 2, 2)

    def down() -> float:
        return r.choice((50.0, 500.0, 500.0, 2_500.0))

    honest = [i for i in range(n) if i not in plan.liars]
    if honest and r.random() < 0.6:
        for _ in range(r.randrange(1, 7)):
            mode = r.choices(modes, weights)[0]
            time = r.random() * plan.heal_at
            plan.crashes.append(Crash(time, r.choice(honest), mode, down()))
    if honest and r.random() < 0.15:  # a power cut of everybody
        time = r.random() * plan.heal_at
        mode = r.choice((CrashMode.NOW, CrashMode.PERSIST))
        plan.crashes += [Crash(time, i, mode, down()) for i in honest]
    for member in losers:
        loss = r.choice(
            (
                Loss.JOURNAL,
                Loss.JOURNAL,
                Loss.EVERYTHING,
                Loss.BACKUP,
                Loss.JOURNAL_COPY,
                Loss.JOURNAL_BIT,
                Loss.STATE_BIT,
                Loss.BODY_BIT,
                Loss.UNNOTICED,
                Loss.UNNOTICED,
            )
        )
        time = r.uniform(0.2, 0.9) * plan.heal_at
        plan.backups.append((r.uniform(0.05, 0.95) * time, member))
        plan.crashes.append(Crash(time, member, CrashMode.NOW, down(), loss))
    plan.crashes.sort(key=lambda crash: crash.time)


def _draw_blackouts(r: Random, plan: Plan) -> None:
    """Everybody loses power again and again under load, one stays away longer each time: views
    change over half-written logs, bodies are held by few (S3, S10)."""
    honest = [i for i in range(plan.n) if i not in plan.liars]
    plan.crashes = [crash for crash in plan.crashes if crash.loss is not Loss.NOTHING]
    time = 500.0
    while time < plan.heal_at:
        absent = r.choice(honest)
        for node in honest:
            start = time + (r.random() * 20.0 if r.random() < 0.3 else 0.0)
            mode = r.choice((CrashMode.NOW, CrashMode.PERSIST))
            down = r.choice((600.0, 1_200.0)) if node == absent else 50.0
            plan.crashes.append(Crash(start, node, mode, down))
        time += r.choice((1_200.0, 2_000.0))
    plan.crashes.sort(key=lambda crash: crash.time)
    plan.load = [(40.0 * step, r.randrange(plan.n), 1) for step in range(int(plan.heal_at / 40))]


def _draw_politics(r: Random, plan: Plan) -> None:
    """Changes that leave room for the faults of the run: f of the smaller set still covers them."""
    n, faults = plan.n, plan.faulty | plan.losers
    well = [i for i in range(n) if i not in faults]
    changes = r.sample(CHANGES, r.choice((1, 1, 2, 3)))
    for change in changes:
        target = r.choice(well)
        if change is Change.JOIN:
            if ("twins",) in plan.liars.values():
                continue  # The twin has that place.
            plan.observers, target = 1, n
        elif change is Change.REMOVE and (n - 2) // 3 < len(faults):
            continue
        time = r.uniform(0.0, 0.6) * plan.heal_at
        plan.politics.append(Politics(time, change, target))


def _draw_load(r: Random, plan: Plan) -> None:
    time, gap = 0.0, r.choice((100.0, 200.0, 400.0))
    while time < LOAD_STRETCH * plan.heal_at:
        time += r.expovariate(1.0) * gap
        plan.load.append((time, r.randrange(plan.n), r.choice((1, 1, 2))))
        if r.random() < 0.03:
            time += 2_000.0  # an idle chain must stay in its view (L17)
