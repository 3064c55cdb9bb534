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
    Defect("a space before every text", "tokenizer.py", "self.encoding.encode(text,", 'self.encoding.encode(" " + text,'),
    Defect("pad with token 0", "batches.py", "pad_token = tokenizer.pad_token", "pad_token = 0"),
    Defect("pad with the last token but one", "tokenizer.py", "return self.encoding.eot_token", "return self.encoding.eot_token - 1"),
    Defect(
        "pad on the left",
        "batches.py",
        "tokens + [pad_token] * ((length or 0) - len(tokens))",
        "[pad_token] * ((length or 0) - len(tokens)) + tokens",
    ),
    Defect("cut one token too short", "batches.py", "cut = [tokens[:length]", "cut = [tokens[: length and length - 1]"),
    Defect("cut off the front of long texts", "batches.py", "cut = [tokens[:length]", "cut = [tokens[-length if length else None :]"),
    Defect(
        "pad to the longest text of any split",
        "batches.py",
        'padded_length(encoded["train"], experiment)',
        "padded_length([row for rows in encoded.values() for row in rows], experiment)",
    ),
    Defect("full context one token short", "batches.py", "            return limit\n", "            return limit - 1\n"),
    Defect("labels flipped", "batches.py", "labels=torch.tensor(split.labels)", "labels=1 - torch.tensor(split.labels)"),
    Defect("labels shifted by one text", "batches.py", "labels=torch.tensor(split.labels)", "labels=torch.tensor(split.labels).roll(1)"),
    Defect("positions in another order than texts", "batches.py", "self.positions[chosen]", "self.positions[chosen].flip(0)"),
    Defect(
        "validation and test swapped", "dataset.py", '"validation": self.validation, "test": self.test}', '"validation": self.test, "test": self.validation}'
    ),
    # The position that is read
    Defect("`first` reads the second token", "batches.py", '{"first": 0,', '{"first": 1,'),
    Defect("`last` reads the last token but one", "batches.py", '"last": n_padded - 1,', '"last": n_padded - 2,'),
    Defect("`flexible` reads one token early", "batches.py", '"flexible": n_tokens - 1}', '"flexible": n_tokens - 2}'),
    Defect("`flexible` reads the first padding", "batches.py", '"flexible": n_tokens - 1}', '"flexible": min(n_tokens, n_padded - 1)}'),
    Defect("`flexible` reads the last padding", "batches.py", '"flexible": n_tokens - 1}', '"flexible": n_padded - 1}'),
    Defect("mean pooling takes the last position", "fast.py", ".mean(dim=1)", "[:, -1]"),
    Defect("mean pooling over the texts", "fast.py", ".mean(dim=1)", ".mean(dim=0, keepdim=True).expand(len(hidden), -1, -1)[:, -1]"),
    Defect("mean pooling leaves the last position out", "fast.py", ".mean(dim=1)", "[:, :-1].mean(dim=1)"),
    Defect("mean pooling before the final norm", "fast.py", "self.final_norm(last(hidden))).mean(dim=1)", "self.final_norm(last(hidden).mean(dim=1)))"),
    Defect(
        "mean pooling over texts that are not padded",
        "batches.py",
        "None if experiment.no_padding else",
        "None if experiment.no_padding or experiment.average_embeddings else",
    ),
    # Weights
    Defect("pretrained weights not loaded", "training.py", "    if inputs.weights:\n", "    if inputs.weights and experiment.seed < 0:\n"),
    Defect(
        "query and key swapped in the file",
        "weights.py",
        '("attention.query", "attention.key", "attention.value")',
        '("attention.key", "attention.query", "attention.value")',
    ),
    Defect("square weights not transposed", "weights.py", "tensor.ndim == 2:", "tensor.ndim == 2 and tensor.shape != parameter.shape:"),
    Defect(
        "norms of a block swapped in the file", "weights.py", '{"ln_1": "attention_norm", "ln_2": "mlp_norm"}', '{"ln_1": "mlp_norm", "ln_2": "attention_norm"}'
    ),
    Defect("weights rounded to bfloat16", "weights.py", "tensor.to(torch.float32)", "tensor.to(torch.bfloat16).to(torch.float32)"),
    Defect("random weights of another seed", "weights.py", "    torch.manual_seed(seed)\n", "    torch.manual_seed(seed + 1)\n"),
    Defect(
        "position embedding drawn first",
        "model.py",
        "        self.token_embedding = nn.Embedding(config.vocabulary_size, config.width)\n"
        "        self.position_embedding = nn.Embedding(config.context_length, config.width)\n",
        "        self.position_embedding = nn.Embedding(config.context_length, config.width)\n"
        "        self.token_embedding = nn.Embedding(config.vocabulary_size, config.width)\n",
    ),
    Defect(
        "key drawn before query",
        "model.py",
        "        self.query = nn.Linear(config.width, config.width)\n        self.key = nn.Linear(config.width, config.width)\n",
        "        self.key = nn.Linear(config.width, config.width)\n        self.query = nn.Linear(config.width, config.width)\n",
    ),
    # The network
    Defect("positions counted from 1", "model.py", "device=tokens.device)\n", "device=tokens.device).add(1).remainder(self.config.context_length)\n"),
    Defect("no position embedding", "model.py", "self.token_embedding(tokens) + self.position_embedding(positions)", "self.token_embedding(tokens)"),
    Defect("no causal mask below the last block", "model.py", "is_causal=self.causal)", "is_causal=False)"),
    Defect("always a causal mask below the last block", "model.py", "is_causal=self.causal)", "is_causal=True)"),
    Defect("the mask stays on in every row", "training.py", "causal = not experiment.disable_causal_mask", "causal = True"),
    Defect("attention scaled by the head's width", "model.py", "is_causal=self.causal)", "is_causal=self.causal, scale=self.n_head / width)"),
    Defect("query and key swapped", "model.py", "linears = (self.query, self.key, self.value)", "linears = (self.key, self.query, self.value)"),
    Defect("heads joined in the wrong order", "model.py", "context.transpose(1, 2).reshape(", "context.reshape("),
    Defect(
        "heads interleaved",
        "model.py",
        "part.view(batch, tokens, self.n_head, -1).transpose(1, 2)",
        "part.view(batch, tokens, -1, self.n_head).permute(0, 3, 1, 2)",
    ),
    Defect("no bias where query, key and value are joined", "model.py", "F.linear(hidden, weight, bias)", "F.linear(hidden, weight)"),
    Defect("exact GELU", "model.py", 'approximate="tanh"', 'approximate="none"'),
    Defect("ReLU", "model.py", 'F.gelu(self.up(hidden), approximate="tanh")', "F.relu(self.up(hidden))"),
    Defect(
        "epsilon of the attention's norm",
        "model.py",
        "self.attention_norm = nn.LayerNorm(config.width, eps=1e-5)",
        "self.attention_norm = nn.LayerNorm(config.width, eps=1e-6)",
    ),
    Defect(
        "epsilon of the MLP's norm", "model.py", "self.mlp_norm = nn.LayerNorm(config.width, eps=1e-5)", "self.mlp_norm = nn.LayerNorm(config.width, eps=1e-6)"
    ),
    Defect(
        "epsilon of the final norm",
        "model.py",
        "self.final_norm = nn.LayerNorm(config.width, eps=1e-5)",
        "self.final_norm = nn.LayerNorm(config.width, eps=1e-6)",
    ),
    Defect("no norm before attention", "model.py", "self.attention(self.attention_norm(hidden))", "self.attention(hidden)"),
    Defect("the attention's norm before the MLP", "model.py", "hidden + self.mlp(self.mlp_norm(hidden))", "hidden + self.mlp(self.attention_norm(hidden))"),
    Defect("no residual around the MLP", "model.py", "hidden + self.mlp(self.mlp_norm(hidden))", "self.mlp(self.mlp_norm(hidden))"),
    Defect("dropout below the last block", "model.py", "hidden + self.mlp(self.mlp_norm(hidden))", "hidden + F.dropout(self.mlp(self.mlp_norm(hidden)), 0.01)"),
    # The last block at one position, and what is kept of the blocks below
    Defect("last block: attention scaled by the width", "one_query.py", "math.sqrt(head_width)", "math.sqrt(width)"),
    Defect("last block: sees one token ahead", "one_query.py", "> position[:, None]", "> position[:, None] + 1"),
    Defect("last block: no causal mask", "one_query.py", "if attention.causal:", "if not attention.causal:"),
    Defect("last block: softmax over the heads", "one_query.py", "scores.softmax(dim=-1)", "scores.softmax(dim=1)"),
    Defect("last block: query without the norm's shift", "one_query.py", "* norm.weight + norm.bias).view(", "* norm.weight).view("),
    Defect("last block: folded query without the norm's scale", "one_query.py", "head_width, width)) * norm.weight  #", "head_width, width))  #"),
    Defect("last block: mixture without the norm's shift", "one_query.py", "@ standardized * norm.weight + norm.bias", "@ standardized * norm.weight"),
    Defect("last block: no bias of the values", "one_query.py", "attention.output(context + value_bias)", "attention.output(context)"),
    Defect(
        "last block: heads of the keys interleaved",
        "one_query.py",
        "key_weight.view(n_head, head_width, width)",
        "key_weight.view(head_width, n_head, width).transpose(0, 1)",
    ),
    Defect("last block: residual of the last position", "one_query.py", "residual = hidden[texts, position]", "residual = hidden[:, -1]"),
    Defect("last block: its norm's epsilon", "one_query.py", "eps=norm.eps)", "eps=1e-6)"),
    Defect("no final norm", "fast.py", "self.final_norm(block_at(position, hidden, cast(Block, last)))", "block_at(position, hidden, cast(Block, last))"),
    Defect("middle blocks in reverse order", "fast.py", "for block in middle:", "for block in reversed(middle):"),
    Defect("the head's input in half precision", "fast.py", "new.position).float()", "new.position).half().float()"),
    Defect(
        "frozen states of one block too few",
        "features.py",
        "            hidden = block(hidden)\n            if depth in one.depths:\n                states.extend(hidden)\n",
        "            if depth in one.depths:\n                states.extend(hidden)\n            hidden = block(hidden)\n",
    ),
    Defect("frozen states of the shallowest row", "features.py", "states.starts[need.depth][self.indices]", "states.starts[min(states.starts)][self.indices]"),
    Defect("frozen states in half precision", "features.py", "states[: slot.stop - slot.start].to(", "states[: slot.stop - slot.start].half().to("),
    Defect("texts share states whatever their last token", "features.py", "whole[-1][: len(row)] == row", "whole[-1][: len(row) - 1] == row[:-1]"),
    Defect("matrix products in bfloat16", "training.py", ".in_precision(experiment.precision, device)", '.in_precision("bf16", device)'),
    # What trains
    Defect("head drawn without seeding", "freezing.py", "    torch.manual_seed(experiment.seed)\n", ""),
    Defect("head of another seed", "training.py", "replace(experiment, seed=seed)", "replace(experiment, seed=seed + 1)"),
    Defect("head without a bias", "freezing.py", "nn.Linear(model.config.width, N_CLASSES)", "nn.Linear(model.config.width, N_CLASSES, bias=False)"),
    Defect("three classes", "freezing.py", "N_CLASSES = 2", "N_CLASSES = 3"),
    Defect("head not trained", "freezing.py", "N_CLASSES)\n    match", "N_CLASSES).requires_grad_(False)\n    match"),
    Defect("nothing frozen", "freezing.py", "    model.requires_grad_(False)\n", ""),
    Defect("two blocks trained instead of one", "freezing.py", "unfreeze_last_blocks(model, 1)", "unfreeze_last_blocks(model, 2)"),
    Defect("one block trained instead of two", "freezing.py", "unfreeze_last_blocks(model, 2)", "unfreeze_last_blocks(model, 1)"),
    Defect("the block before the last trained", "freezing.py", "model.blocks[-n_blocks:]", "model.blocks[-n_blocks - 1 : -1]"),
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
    Defect("a block that trains taken as frozen", "freezing.py", '"last_two_blocks": 2}', '"last_two_blocks": 1}'),
    Defect("biases and norms not given to the optimizer", "learner.py", "if parameter.requires_grad}", "if parameter.requires_grad and parameter.ndim > 1}"),
    # LoRA
    Defect("LoRA: divided by the rank", "lora.py", "self.alpha = alpha\n", "self.alpha = alpha / rank\n"),
    Defect("LoRA: no alpha", "lora.py", "self.B, alpha=self.alpha)", "self.B)"),
    Defect(
        "LoRA: no alpha in the last block's keys and values",
        "lora.py",
        "self.linear.weight + self.alpha * (self.A @ self.B).T",
        "self.linear.weight + (self.A @ self.B).T",
    ),
    Defect("LoRA: rank in the place of alpha", "freezing.py", "experiment.lora_rank, experiment.lora_alpha", "experiment.lora_rank, experiment.lora_rank"),
    Defect("LoRA: half the rank", "freezing.py", "experiment.lora_rank, experiment.lora_alpha", "experiment.lora_rank // 2, experiment.lora_alpha"),
    Defect("LoRA: A drawn from a normal distribution", "lora.py", "nn.init.kaiming_uniform_(", "nn.init.kaiming_normal_("),
    Defect("LoRA: A drawn for another slope", "lora.py", "a=math.sqrt(5))", "a=math.sqrt(3))"),
    Defect("LoRA: B not zero", "lora.py", "torch.zeros(rank, linear.out_features)", "torch.full((rank, linear.out_features), 1e-4)"),
    Defect("LoRA: no adapters on the values", "lora.py", "if isinstance(child, nn.Linear):", 'if isinstance(child, nn.Linear) and name != "value":'),
    Defect("LoRA: no adapter on the head", "lora.py", "if isinstance(child, nn.Linear):", 'if isinstance(child, nn.Linear) and name != "head":'),
    Defect("LoRA: drawn in reverse order", "lora.py", "in module.named_children():", "in reversed([*module.named_children()]):"),
    Defect("LoRA: the layers themselves train", "lora.py", "        self.linear = linear\n", "        self.linear = linear.requires_grad_(True)\n"),
    # The optimizer
    Defect("learning rate 2 % higher", "loop.py", "lr=experiment.learning_rate,", "lr=1.02 * experiment.learning_rate,"),
    Defect("learning rate 0.1 % lower", "loop.py", "lr=experiment.learning_rate,", "lr=0.999 * experiment.learning_rate,"),
    Defect("weight decay 0.09", "loop.py", "weight_decay=experiment.weight_decay,", "weight_decay=0.9 * experiment.weight_decay,"),
    Defect("weight decay 0.09 by default", "experiment.py", "weight_decay: float = setting(0.1,", "weight_decay: float = setting(0.09,"),
    Defect("no weight decay", "loop.py", "weight_decay=experiment.weight_decay,", "weight_decay=0.0,"),
    Defect(
        "weight decay on matrices only",
        "loop.py",
        "torch.optim.AdamW(learner.parameters,",
        'torch.optim.AdamW([{"params": [one], **({} if one.ndim > 1 else {"weight_decay": 0.0})} for one in learner.parameters],',
    ),
    Defect("Adam with weight decay as a penalty", "loop.py", "torch.optim.AdamW(", "torch.optim.Adam("),
    Defect("second beta 0.998", "loop.py", "fused=fused)", "fused=fused, betas=(0.9, 0.998))"),
    Defect("first beta 0.95", "loop.py", "fused=fused)", "fused=fused, betas=(0.95, 0.999))"),
    Defect("AdamW's epsilon 1e-7", "loop.py", "fused=fused)", "fused=fused, eps=1e-7)"),
    Defect("AMSGrad", "loop.py", "fused=fused)", "fused=fused, amsgrad=True)"),
    Defect(
        "gradients clipped",
        "loop.py",
        "                    optimizer.step()\n",
        "                    torch.nn.utils.clip_grad_norm_(learner.parameters, 1.0)\n                    optimizer.step()\n",
    ),
    Defect("gradients not zeroed", "loop.py", "                    optimizer.zero_grad()\n", ""),
    Defect("no update at all", "loop.py", "                    optimizer.step()\n", ""),
    # The loss, and accumulation
    Defect("softmax before the cross entropy", "loop.py", "F.cross_entropy(of_seed,", "F.cross_entropy(of_seed.softmax(dim=-1),"),
    Defect("labels smoothed", "loop.py", "ignore_index=experiment.ignore_index)", "ignore_index=experiment.ignore_index, label_smoothing=0.01)"),
    Defect(
        "spam weighs more", "loop.py", "ignore_index=experiment.ignore_index)", "ignore_index=experiment.ignore_index, weight=of_seed.new_tensor([1.0, 1.05]))"
    ),
    Defect("the loss leaves ham out", "loop.py", "ignore_index=experiment.ignore_index)", "ignore_index=0)"),
    Defect("loss summed over the batch", "loop.py", "ignore_index=experiment.ignore_index)", 'ignore_index=experiment.ignore_index, reduction="sum")'),
    Defect(
        "accumulated gradients not divided",
        "loop.py",
        "(torch.stack(losses).sum() / experiment.accumulation_steps).backward()",
        "torch.stack(losses).sum().backward()",
    ),
    Defect("no update at an epoch's end", "schedule.py", "experiment.accumulation_steps == 0 or number == last_batch)", "experiment.accumulation_steps == 0)"),
    Defect(
        "updates one batch early",
        "schedule.py",
        "updates=number % experiment.accumulation_steps == 0",
        "updates=(number - 1) % experiment.accumulation_steps == 0",
    ),
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
    Defect("last partial batch dropped everywhere", "schedule.py", "drop_last=training,", "drop_last=True,"),
    Defect("one epoch less", "schedule.py", "range(1, experiment.num_epochs + 1)", "range(1, experiment.num_epochs)"),
    Defect(
        "validation drawn before training texts",
        "schedule.py",
        'stages.append(LossEvaluation(epoch, step, first_batches("train"), first_batches("validation")))',
        'stages.append(LossEvaluation(epoch, step, *[first_batches(name) for name in ("validation", "train")][::-1]))',
    ),
    Defect(
        "evaluations leave the random stream alone",
        "schedule.py",
        "        return tuple(islice(loaders[name], experiment.eval_iter))\n",
        "        with torch.random.fork_rng(devices=()):\n            return tuple(islice(loaders[name], experiment.eval_iter))\n",
    ),
    # Evaluations and final counts
    Defect("evaluated one step early", "schedule.py", "if step % experiment.eval_freq == 0:", "if (step + 1) % experiment.eval_freq == 0:"),
    Defect("one batch more in evaluations", "schedule.py", "experiment.eval_iter))", "experiment.eval_iter + 1))"),
    Defect(
        "last batch of an evaluation left out", "loop.py", "    losses = []\n    for batch in batches:\n", "    losses = []\n    for batch in batches[:-1]:\n"
    ),
    Defect("validation loss of training texts", "loop.py", 'mean_losses(learner, splits["validation"],', 'mean_losses(learner, splits["train"],'),
    Defect(
        "validation accuracy of training texts after an epoch",
        "loop.py",
        'answer(learner, splits["validation"], validation_batches, device)',
        'answer(learner, splits["train"], validation_batches, device)',
    ),
    Defect("accuracies of an epoch swapped", "loop.py", "one.count().accuracy, other.count().accuracy)", "other.count().accuracy, one.count().accuracy)"),
    Defect("the lesser logit wins", "loop.py", "logits.argmax(dim=-1)", "logits.argmin(dim=-1)"),
    Defect("ham taken for spam counts as right", "loop.py", "(logits.argmax(dim=-1) == one.labels)", "(logits.argmax(dim=-1) >= one.labels)"),
    Defect(
        "last batch of the final counts left out",
        "loop.py",
        "dtype=torch.bool)\n    for batch in batches:\n",
        "dtype=torch.bool)\n    for batch in batches[:-1]:\n",
    ),
    Defect(
        "final counts of the training split",
        "training.py",
        "answer(learner, setup.splits[name], batches, device)",
        'answer(learner, setup.splits["train"], batches, device)',
    ),
    Defect(
        "validation's count in the place of test's",
        "training.py",
        "counts={name: of_split.count() for name, of_split in answers.items()}",
        'counts={name: answers["validation" if name == "test" else name].count() for name in answers}',
    ),
    Defect("unshuffled texts graded in another order", "loop.py", "chosen = list(examples)", "chosen = list(reversed(examples))"),
)
