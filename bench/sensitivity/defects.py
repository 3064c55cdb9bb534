"""Deliberate defects of gptcore, one small edit each: what the rows have to notice.

None of them is a matter of rounding, and all but a few run through without a word.  Edits that no row could ever feel have no place here: code the smoke tier
does not take, and settings without effect on any figure, such as `ignore_index` with labels 0 and 1.  (SPEC §6)
"""

from dataclasses import dataclass

from gptcore.errors import UserError


class DefectError(UserError):
    """A defect that does not fit the code it is made for."""


@dataclass(frozen=True)
class Defect:
    """An edit of one module of gptcore: `before`, which occurs there exactly once, becomes `after`."""

    name: str
    module: str
    before: str
    after: str

    def changed(self, source: str) -> str:
        """The module's source with the defect in it.  Raises DefectError where it does not fit."""
        if (n_places := source.count(self.before)) != 1:
            raise DefectError(f"the defect '{self.name}' fits {n_places} places of gptcore/{self.module}, not one: adapt it in bench/sensitivity/defects.py")
        return source.replace(self.before, self.after)


DEFECTS = (
    # Texts and batches
    Defect("texts in small letters", "tokenizer.py", "self.encoding.encode(text,", "self.encoding.encode(text.lower(),"),
    Defect("pad with token 0", "batches.py", "experiment, tokenizer.pad_token)", "experiment, 0)"),
    Defect(
        "pad on the left",
        "batches.py",
        "tokens + [pad_token] * ((length or 0) - len(tokens))",
        "[pad_token] * ((length or 0) - len(tokens)) + tokens",
    ),
    Defect("cut one token too short", "batches.py", "cut = [list(tokens[:length])", "cut = [list(tokens[: length and length - 1])"),
    Defect("labels flipped", "batches.py", "labels=torch.tensor(split.labels)", "labels=1 - torch.tensor(split.labels)"),
    # The position that is read
    Defect("`first` reads the second token", "batches.py", '{"first": 0,', '{"first": 1,'),
    Defect("`flexible` reads one token early", "batches.py", '"flexible": n_tokens - 1}', '"flexible": n_tokens - 2}'),
    Defect("mean pooling over the texts", "fast.py", ".mean(dim=1)", ".mean(dim=0, keepdim=True).expand(len(hidden), -1, -1)[:, -1]"),
    Defect("mean pooling before the final norm", "fast.py", "self.final_norm(last(hidden))).mean(dim=1)", "self.final_norm(last(hidden).mean(dim=1)))"),
    # Weights
    Defect("pretrained weights not loaded", "training.py", "    if inputs.weights:\n", "    if inputs.weights and experiment.seed < 0:\n"),
    Defect("square weights not transposed", "weights.py", "tensor.ndim == 2:", "tensor.ndim == 2 and tensor.shape != parameter.shape:"),
    Defect("weights rounded to bfloat16", "weights.py", "tensor.to(torch.float32)", "tensor.to(torch.bfloat16).to(torch.float32)"),
    Defect("random weights of another seed", "weights.py", "    torch.manual_seed(seed)\n", "    torch.manual_seed(seed + 1)\n"),
    # The network
    Defect("positions counted from 1", "model.py", "device=tokens.device)\n", "device=tokens.device).add(1).remainder(self.config.context_length)\n"),
    Defect("no causal mask below the last block", "model.py", "is_causal=self.causal)", "is_causal=False)"),
    Defect("the mask stays on in every row", "training.py", "causal = not experiment.disable_causal_mask", "causal = True"),
    Defect("attention scaled by the head's width", "model.py", "is_causal=self.causal)", "is_causal=self.causal, scale=self.n_head / width)"),
    Defect("no bias where query, key and value are joined", "model.py", "F.linear(hidden, weight, bias)", "F.linear(hidden, weight)"),
    Defect("exact GELU", "model.py", 'approximate="tanh"', 'approximate="none"'),
    Defect(
        "epsilon of the attention's norm",
        "model.py",
        "self.attention_norm = nn.LayerNorm(config.width, eps=1e-5)",
        "self.attention_norm = nn.LayerNorm(config.width, eps=1e-6)",
    ),
    Defect(
        "epsilon of the final norm",
        "model.py",
        "self.final_norm = nn.LayerNorm(config.width, eps=1e-5)",
        "self.final_norm = nn.LayerNorm(config.width, eps=1e-6)",
    ),
    # The last block at one position, and what is kept of the blocks below
    Defect("last block: sees one token ahead", "one_query.py", "> position[:, None]", "> position[:, None] + 1"),
    Defect("last block: its norm's epsilon", "one_query.py", "eps=norm.eps)", "eps=1e-6)"),
    Defect("no final norm", "fast.py", "self.final_norm(block_at(position, hidden, cast(Block, last)))", "block_at(position, hidden, cast(Block, last))"),
    Defect(
        "frozen states of one block too few",
        "features.py",
        "            hidden = block(hidden)\n            if depth in one.depths:\n                states.extend(hidden)\n",
        "            if depth in one.depths:\n                states.extend(hidden)\n            hidden = block(hidden)\n",
    ),
    Defect("frozen states in half precision", "features.py", "states[: slot.stop - slot.start].to(", "states[: slot.stop - slot.start].half().to("),
    Defect("matrix products in bfloat16", "training.py", ".in_precision(experiment.precision)", '.in_precision("bf16")'),
    # What trains
    Defect("head drawn without seeding", "freezing.py", "    torch.manual_seed(experiment.seed)\n", ""),
    Defect("head without a bias", "freezing.py", "nn.Linear(model.config.width, N_CLASSES)", "nn.Linear(model.config.width, N_CLASSES, bias=False)"),
    Defect("head not trained", "freezing.py", "N_CLASSES)\n    match", "N_CLASSES).requires_grad_(False)\n    match"),
    Defect("nothing frozen", "freezing.py", "    model.requires_grad_(False)\n", ""),
    Defect("two blocks trained instead of one", "freezing.py", "unfreeze_last_blocks(model, 1)", "unfreeze_last_blocks(model, 2)"),
    Defect("one block trained instead of two", "freezing.py", "unfreeze_last_blocks(model, 2)", "unfreeze_last_blocks(model, 1)"),
    Defect(
        "final norm not trained",
        "freezing.py",
        "        block.requires_grad_(True)\n    model.final_norm.requires_grad_(True)\n",
        "        block.requires_grad_(True)\n",
    ),
    Defect(
        "embeddings not trained",
        "freezing.py",
        "            model.requires_grad_(True)\n",
        "            model.blocks.requires_grad_(True), model.final_norm.requires_grad_(True)\n",
    ),
    Defect("biases and norms not given to the optimizer", "learner.py", "if parameter.requires_grad}", "if parameter.requires_grad and parameter.ndim > 1}"),
    # LoRA
    Defect("LoRA: divided by the rank", "lora.py", "self.alpha = alpha\n", "self.alpha = alpha / rank\n"),
    Defect("LoRA: no alpha", "lora.py", "self.B, alpha=self.alpha)", "self.B)"),
    Defect("LoRA: half the rank", "freezing.py", "experiment.lora_rank, experiment.lora_alpha", "experiment.lora_rank // 2, experiment.lora_alpha"),
    Defect("LoRA: B not zero", "lora.py", "torch.zeros(rank, linear.out_features)", "torch.full((rank, linear.out_features), 1e-4)"),
    Defect("LoRA: no adapters on the values", "lora.py", "if isinstance(child, nn.Linear):", 'if isinstance(child, nn.Linear) and name != "value":'),
    # The optimizer
    Defect("learning rate 2 % higher", "loop.py", "lr=experiment.learning_rate,", "lr=1.02 * experiment.learning_rate,"),
    Defect("learning rate 0.1 % lower", "loop.py", "lr=experiment.learning_rate,", "lr=0.999 * experiment.learning_rate,"),
    Defect("weight decay 0.09", "loop.py", "weight_decay=experiment.weight_decay,", "weight_decay=0.9 * experiment.weight_decay,"),
    Defect("no weight decay", "loop.py", "weight_decay=experiment.weight_decay,", "weight_decay=0.0,"),
    Defect("Adam with weight decay as a penalty", "loop.py", "torch.optim.AdamW(", "torch.optim.Adam("),
    Defect("first beta 0.95", "loop.py", "fused=fused)", "fused=fused, betas=(0.95, 0.999))"),
    Defect("AdamW's epsilon 1e-7", "loop.py", "fused=fused)", "fused=fused, eps=1e-7)"),
    Defect("gradients not zeroed", "loop.py", "                    optimizer.zero_grad()\n", ""),
    Defect("no update at all", "loop.py", "                    optimizer.step()\n", ""),
    # The loss, and accumulation
    Defect("softmax before the cross entropy", "loop.py", "F.cross_entropy(of_seed,", "F.cross_entropy(of_seed.softmax(dim=-1),"),
    Defect("loss summed over the batch", "loop.py", "ignore_index=experiment.ignore_index)", 'ignore_index=experiment.ignore_index, reduction="sum")'),
    Defect(
        "accumulated gradients not divided",
        "loop.py",
        "(torch.stack(losses).sum() / experiment.accumulation_steps).backward()",
        "torch.stack(losses).sum().backward()",
    ),
    Defect("no update at an epoch's end", "schedule.py", "experiment.accumulation_steps == 0 or number == last_batch)", "experiment.accumulation_steps == 0)"),
    # The order of examples
    Defect("schedule drawn without seeding", "schedule.py", "    torch.manual_seed(seed)\n", ""),
    Defect(
        "schedule of another seed",
        "training.py",
        "draw_schedule(experiment, setup.sizes, seeds)",
        "draw_schedule(experiment, setup.sizes, [seed + 1 for seed in seeds])",
    ),
    Defect("training texts not shuffled", "schedule.py", "shuffle=training,", "shuffle=False,"),
    Defect("every split shuffled", "schedule.py", "shuffle=training,", "shuffle=True,"),
    Defect("last partial batch kept", "schedule.py", "drop_last=training,", "drop_last=False,"),
    Defect(
        "evaluations leave the random stream alone",
        "schedule.py",
        "        return tuple(islice(loaders[name], experiment.eval_iter))\n",
        "        with torch.random.fork_rng(devices=()):\n            return tuple(islice(loaders[name], experiment.eval_iter))\n",
    ),
    # Evaluations and final counts
    Defect("one batch more in evaluations", "schedule.py", "experiment.eval_iter))", "experiment.eval_iter + 1))"),
    Defect("validation loss of training texts", "loop.py", 'mean_losses(learner, splits["validation"],', 'mean_losses(learner, splits["train"],'),
    Defect("the lesser logit wins", "loop.py", "logits.argmax(dim=-1)", "logits.argmin(dim=-1)"),
    Defect(
        "final counts of the training split",
        "training.py",
        "grade(learner, setup.splits[name], batches)",
        'grade(learner, setup.splits["train"], batches)',
    ),
)
