"""Which rows of a run share frozen work: the states that several need are computed once, when the first of them asks, and let go after the last."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import torch

from bench.rows import Row
from gptcore.execution import Execution, within
from gptcore.experiment import Experiment
from gptcore.features import FrozenStates, Need
from gptcore.freezing import frozen_blocks
from gptcore.inputs import Inputs
from gptcore.sharing import need_of, share_states


@dataclass
class Group:
    """Rows whose frozen parts agree in weights, mask and precision.  needs and states: filled when the first of them asks.

    memory_budget: bytes that states may take, None for what the execution says.
    """

    members: dict[int, Experiment] = field(default_factory=dict)
    waiting: set[int] = field(default_factory=set)
    needs: dict[int, Need] = field(default_factory=dict)
    states: FrozenStates | None = None
    memory_budget: int | None = None


@dataclass(frozen=True)
class Plan:
    """The groups of a run with at least two rows, and how their inputs are had.

    memory_at_rest: bytes that the program held before the first row.
    """

    groups: Sequence[Group]
    gather: Callable[[Experiment], Inputs]
    device: torch.device
    execution: Execution
    memory_at_rest: int = 0

    def states_for(self, row: Row) -> FrozenStates | None:
        """The states a row shares with others, None where it shares none."""
        group = self.group_of(row)
        if group is None:
            return None
        if not group.needs:
            # Of all members, those that are done included: a run that goes on must cut the same passes.
            for number, experiment in group.members.items():
                with suppress(Exception):  # whatever is wrong with a row, it says so itself when it runs
                    group.needs[number] = need_of(experiment, self.gather(experiment))
        if group.states is None and row.number in group.needs:
            self._allocate(group)
        return group.states if row.number in group.needs else None

    @property
    def bytes_in_memory(self) -> int:
        """What the states of all groups hold now."""
        return sum(group.states.bytes_in_memory for group in self.groups if group.states)

    def shrink(self, memory_budget: int) -> None:
        """Let all states go; where a row asks for some again, they are made within so many bytes of memory."""
        for group in self.groups:
            group.states, group.memory_budget = None, memory_budget

    def done(self, row: Row) -> None:
        """Let the states go if no row still waits for them."""
        group = self.group_of(row)
        if group:
            group.waiting.discard(row.number)
            if not group.waiting & group.needs.keys():
                group.states = None

    def group_of(self, row: Row) -> Group | None:
        """The group a row belongs to."""
        return next((group for group in self.groups if row.number in group.members), None)

    def _allocate(self, group: Group) -> None:
        """States of as many rows as memory has room for, the largest left to themselves; where it has none for two, of all rows on disk."""
        by_size = sorted(group.needs, key=lambda number: sum(map(len, group.needs[number].rows)))
        for n_rows in range(len(by_size), 1, -1):
            group.states = self._share(group, by_size[:n_rows])
            if group.states.place == "memory":
                group.needs = {number: group.needs[number] for number in by_size[:n_rows]}
                return
        group.states = self._share(group, by_size)

    def _share(self, group: Group, numbers: Sequence[int]) -> FrozenStates:
        experiment = group.members[numbers[0]]
        needs = [group.needs[number] for number in numbers]
        execution = within(self.execution, group.memory_budget)
        return share_states(needs, experiment, self.gather(experiment), device=self.device, execution=execution)


def make_plan(
    experiments: dict[int, Experiment], gather: Callable[[Experiment], Inputs], device: torch.device, execution: Execution, memory_at_rest: int = 0
) -> Plan:
    """The plan of a run with these experiments, by row; inputs are gathered when the first row of a group asks."""
    groups: dict[tuple[object, ...], Group] = {}
    for number, experiment in experiments.items():
        if frozen_blocks(experiment) and not execution.plain:
            seed = experiment.seed if experiment.weights == "random" else None
            key = (experiment.model_size, experiment.weights, seed, experiment.disable_causal_mask, experiment.precision)
            group = groups.setdefault(key, Group())
            group.members[number] = experiment
            group.waiting.add(number)
    return Plan([group for group in groups.values() if len(group.members) > 1], gather, device, execution, memory_at_rest)
