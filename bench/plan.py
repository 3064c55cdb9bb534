"""Which rows of a run share frozen work: the states that several need are computed once, when the first of them asks, and let go after the last."""

from dataclasses import dataclass, field

import torch

from bench.rows import Row
from gptcore.execution import Execution
from gptcore.experiment import Experiment
from gptcore.features import FrozenStates, Need
from gptcore.freezing import frozen_blocks
from gptcore.inputs import Inputs
from gptcore.sharing import frozen_identity, need_of, share_states


@dataclass
class Group:
    """Rows whose frozen parts agree in weights, mask and precision, and their states once one has asked for them."""

    needs: dict[int, Need] = field(default_factory=dict)
    waiting: set[int] = field(default_factory=set)
    states: FrozenStates | None = None


class Plan:
    """The groups of a run.  Rows are added before the first one runs; a row that was not added shares nothing."""

    def __init__(self, device: torch.device, execution: Execution) -> None:
        self.device = device
        self.execution = execution
        self.groups: dict[str, Group] = {}

    def add(self, row: Row, experiment: Experiment, inputs: Inputs) -> None:
        """Count on a row.  Raises UserError for inputs it cannot use."""
        if self.execution.plain or not frozen_blocks(experiment):
            return
        need = need_of(experiment, inputs)
        group = self.groups.setdefault(frozen_identity(experiment, inputs, self.device), Group())
        group.needs[row.number] = need
        group.waiting.add(row.number)

    def states_for(self, row: Row, experiment: Experiment, inputs: Inputs) -> FrozenStates | None:
        """The states a row shares with others, None where it shares none."""
        group = self._group_of(row)
        if group is None:
            return None
        if group.states is None:
            group.states = share_states(list(group.needs.values()), experiment, inputs, device=self.device, execution=self.execution)
        return group.states

    def done(self, row: Row) -> None:
        """Let the states go if no row still waits for them."""
        group = self._group_of(row)
        if group:
            group.waiting.discard(row.number)
            if not group.waiting:
                group.states = None

    def shares(self, one: Row, other: Row) -> bool:
        """Whether two rows are of one group."""
        group = self._group_of(one)
        return group is not None and other.number in group.needs

    def _group_of(self, row: Row) -> Group | None:
        return next((group for group in self.groups.values() if row.number in group.needs), None)
