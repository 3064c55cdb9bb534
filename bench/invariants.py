"""What must hold in every run, whatever is expected of its figures.  Each check says what it did, and speaks only where the run has its rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.plan import Plan
from bench.recording.baselines import repeatable_figures
from bench.request import Request
from bench.results import Invariant, Results, RowResult, read_rows, write_invariants
from bench.rows import Row, find_row
from bench.run import plan_of
from bench.wording import counted
from gptcore.batches import encode_dataset
from gptcore.dataset import LABELS, SPLITS, SplitName
from gptcore.execution import Execution
from gptcore.experiment import Experiment, digest_of
from gptcore.features import FrozenStates
from gptcore.inputs import Inputs
from gptcore.result import Evaluation, Result
from gptcore.schedule import LossEvaluation, Schedule, Stage, TrainStep, draw_schedule
from gptcore.sharing import own_states
from gptcore.training import finetune, rehearse

WORTH_REPEATING = 60.0  # seconds that a row may have taken to be repeated as a whole; of a longer one the beginning is
# Relative to the loss or the norm, after one update: what is left of a product's precision in sums over some thousand of them.
ROUNDING = {"fp32": 1e-4, "tf32": 1e-2, "bf16": 5e-2}


@dataclass(frozen=True)
class Probe:
    """A finished run, and what it takes to compute some of it again."""

    request: Request
    plan: Plan
    results: Results

    def row(self, number: int) -> tuple[Experiment, Inputs, Result] | None:
        """A row's experiment, inputs and figures; None where it has none."""
        result = self.results.rows.get(number)
        if result is None or result.figures is None:
            return None
        experiment = self.request.experiment_of(find_row(number, self.request.rows))
        return experiment, self.request.tier.gather(experiment, self.request.sources), result.figures

    def sampled(self, check: str, suits: Callable[[Experiment], bool] = lambda experiment: True) -> Row | None:
        """One of the rows that have figures and suit: for another commit or another check another one, for the same ones the same."""
        with_figures = {number for number, result in self.results.rows.items() if result.figures}
        rows = [row for row in self.request.rows if row.number in with_figures and suits(self.request.experiment_of(row))]
        drawn = int(digest_of([self.results.info.environment.git_commit, check]), 16)
        return rows[drawn % len(rows)] if rows else None


def check_invariants(request: Request, folder: Path) -> None:
    """Check everything that a finished run's rows allow, and keep what came of it in the folder."""
    probe = Probe(request, plan_of(request), read_rows(folder))
    write_invariants(folder, [outcome for check in CHECKS for outcome in outcomes(check, probe)])


def outcomes(check: Callable[[Probe], Iterator[Invariant]], probe: Probe) -> list[Invariant]:
    """What a check found; one that could not be made does not hold."""
    try:
        return [*check(probe)]
    except Exception as error:  # noqa: BLE001 - whatever breaks a check must not lose the run
        name = (check.__doc__ or "").split("\n")[0].rstrip(".")
        return [Invariant(name, (), False, f"could not be checked: {error}")]


def an_ignored_label_that_no_text_has_changes_nothing(probe: Probe) -> Iterator[Invariant]:
    """Rows that differ only in ignoring a label that no text has, as row 18 and row 1, are equal bit for bit."""
    first_alike: dict[Experiment, RowResult] = {}
    for row in probe.request.rows:
        experiment, result = probe.request.experiment_of(row), probe.results.rows.get(row.number)
        if experiment.ignore_index in LABELS.values() or result is None or result.figures is None:
            continue
        first = first_alike.setdefault(replace(experiment, ignore_index=Experiment().ignore_index), result)
        if first is not result:
            one, other = (repeatable_figures(either.figures) for either in (first, result))
            differing = [name for name, value in one.items() if value != other[name]]
            explanation = f"they differ in {', '.join(differing)}" if differing else ""
            yield Invariant(f"row {row.number} equals row {first.row} bit for bit", (first.row, row.number), not differing, explanation)


def accuracies_are_whole_counts(probe: Probe) -> Iterator[Invariant]:
    """Accuracies are whole counts of their texts, and the answers add up to them."""
    wrong = [sentence for result in probe.results.rows.values() for sentence in miscounted(result)]
    if probe.results.rows:
        yield Invariant("accuracies are whole counts of their texts", tuple(probe.results.rows), not wrong, "; ".join(wrong))


def miscounted(result: RowResult) -> Iterator[str]:
    """A sentence for every accuracy of a row that is no count of the texts it must be of."""
    for figures in (result.figures, *result.others.values()):
        if figures is None:
            continue
        batch_size, eval_iter = (result.settings[name] for name in ("batch_size", "eval_iter"))
        sizes = {split: figures.answers[split].n for split in SPLITS}
        asked = sizes | {"train": sizes["train"] // batch_size * batch_size}  # the training loader drops the last partial batch
        for split, count in figures.counts.items():
            if count != figures.answers[split].count() or count.n != asked[split]:
                yield f"row {result.row}: {split} {count.right} of {count.n} is not what its {asked[split]} answers add up to"
            answers = zip(figures.answers[split].is_asked(), figures.answers[split].is_right(), figures.margins[split], strict=True)
            if contradicting := sum(is_asked and abs(margin) > 1e-6 and is_right != (margin > 0) for is_asked, is_right, margin in answers):
                yield f"row {result.row}: {contradicting} {split} answers contradict their margins"
        for epoch in figures.epoch_accuracies:
            for split, accuracy in (("train", epoch.train_accuracy), ("validation", epoch.validation_accuracy)):
                n = min(eval_iter * batch_size, asked[split])
                if abs(accuracy * n - round(accuracy * n)) > 1e-6:  # a share of n texts, in double precision
                    yield f"row {result.row}: {split} accuracy {accuracy} after epoch {epoch.epoch} is no count of {n}"


def no_padding_is_read(probe: Probe) -> Iterator[Invariant]:
    """The inputs of rows without padding, or that read the last real token, hold no padding up to the position that is read."""
    for number in (row.number for row in probe.request.rows):
        if (known := probe.row(number)) and (known[0].no_padding or known[0].trainable_token_pos == "flexible"):
            experiment, inputs, _ = known
            splits = encode_dataset(inputs.dataset, experiment, inputs.tokenizer)
            padded = sum(
                int((tokens[: position + 1] == inputs.tokenizer.pad_token).any())
                for split in splits.values()
                for tokens, position in zip(split.rows, split.positions.tolist(), strict=True)
            )
            name = f"row {number} reads no padding before the position its class is read from"
            yield Invariant(name, (number,), not padded, f"{counted(padded, 'text')} {'does' if padded == 1 else 'do'}" if padded else "")


def a_repeated_row_is_identical(probe: Probe) -> Iterator[Invariant]:
    """A repeated row is bit-identical."""
    row = probe.sampled("repeat")
    if row and (known := probe.row(row.number)):
        experiment, inputs, figures = known
        request = probe.request
        states = probe.plan.states_for(row) or own_states(experiment, inputs, device=request.device, execution=request.execution)
        if figures.real_seconds <= WORTH_REPEATING:
            repeated = repeatable_figures(finetune(experiment, inputs, device=request.device, execution=request.execution, states=states))
            moved = [name for name, value in repeatable_figures(figures).items() if value != repeated[name]]
            yield Invariant(f"row {row.number}, run again, is bit-identical", (row.number,), not moved, f"{', '.join(moved)} moved" if moved else "")
            return
        again = rehearsed(experiment, inputs, probe, request.execution, evaluations(experiment, 2), states)
        before = figures.history[: len(again)]
        differing = [f"step {new.step}: {old} became {new}" for old, new in zip(before, again, strict=True) if old != new]
        yield Invariant(f"row {row.number}, run again to step {again[-1].step}, is bit-identical", (row.number,), not differing, "; ".join(differing))


def plain_equals_fast(probe: Probe) -> Iterator[Invariant]:
    """Plain equals fast on a sampled row."""
    row = probe.sampled("plain")
    if row and (known := probe.row(row.number)) and not probe.request.execution.plain:
        experiment, inputs, figures = known
        plain = rehearsed(experiment, inputs, probe, Execution(plain=True), evaluations(experiment, 1))
        name = f"row {row.number}, its first update computed the plain way, agrees up to rounding"
        yield agreement(name, row.number, experiment, figures.history[:1], plain)


def batches_equal_accumulated_texts(probe: Probe) -> Iterator[Invariant]:
    """A batch equals its texts one by one."""
    row = probe.sampled("batch", lambda experiment: experiment.batch_size > 1 and experiment.accumulation_steps == 1)
    if row and (known := probe.row(row.number)):
        experiment, inputs, figures = known
        size = experiment.batch_size
        one_by_one = replace(experiment, batch_size=1, accumulation_steps=size)
        again = rehearsed(one_by_one, inputs, probe, probe.request.execution, lambda sizes: taken_apart(evaluations(experiment, 1)(sizes)))
        name = f"row {row.number}, its first batch of {size} as {size} batches of 1, agrees up to rounding"
        yield agreement(name, row.number, experiment, figures.history[:1], again)


def evaluations(experiment: Experiment, n: int) -> Callable[[Mapping[SplitName, int]], Schedule]:
    """Makes the experiment's own schedule, up to and with its n-th evaluation of the losses."""

    def draw(sizes: Mapping[SplitName, int]) -> Schedule:
        schedule = draw_schedule(experiment, sizes, [experiment.seed])
        ends = [number for number, stage in enumerate(schedule.stages, start=1) if isinstance(stage, LossEvaluation)]
        return replace(schedule, stages=schedule.stages[: ends[min(n, len(ends)) - 1]])

    return draw


def taken_apart(schedule: Schedule) -> Schedule:
    """The same with every training batch as batches of one text, the last of which updates."""
    stages: list[Stage] = []
    for stage in schedule.stages:
        if isinstance(stage, TrainStep):
            (batch,) = stage.batch
            last = len(batch) - 1
            stages += [replace(stage, batch=((text,),), updates=stage.updates and number == last) for number, text in enumerate(batch)]
        else:
            stages.append(stage)
    return replace(schedule, stages=tuple(stages))


def rehearsed(
    experiment: Experiment,
    inputs: Inputs,
    probe: Probe,
    execution: Execution,
    schedule_of: Callable[[Mapping[SplitName, int]], Schedule],
    states: FrozenStates | None = None,
) -> tuple[Evaluation, ...]:
    """The evaluations of the losses under another schedule or another way of computing."""
    events = rehearse(experiment, inputs, schedule_of, device=probe.request.device, execution=execution, states=states)
    return tuple(event for event in events if isinstance(event, Evaluation))


def agreement(name: str, number: int, experiment: Experiment, before: Sequence[Evaluation], after: Sequence[Evaluation]) -> Invariant:
    """Whether losses and gradient norms agree up to rounding."""
    worst = 0.0
    for old, new in zip(before, after, strict=True):
        pairs = ((old.train_loss, new.train_loss), (old.validation_loss, new.validation_loss), (old.gradient_norm, new.gradient_norm))
        worst = max(worst, *(abs(one - other) / max(abs(one), abs(other), 1.0) for one, other in pairs))
    allowed = ROUNDING[experiment.precision]
    return Invariant(name, (number,), worst <= allowed, f"furthest apart by {worst:.2g}, allowed {allowed:g}")


CHECKS = (
    an_ignored_label_that_no_text_has_changes_nothing,
    accuracies_are_whole_counts,
    no_padding_is_read,
    a_repeated_row_is_identical,
    plain_equals_fast,
    batches_equal_accumulated_texts,
)
