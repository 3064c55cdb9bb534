"""SPEC §2-5 once more, as one plain research script: the independent implementation that `finetune` is compared with.

It shares no code with gptcore and takes no short cuts: attention one head at a time, LayerNorm and GELU by their formulas.  Texts are read as UTF-8 bytes.
"""

import math

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader, Dataset

PAD = 256


class LayerNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        centred = x - x.mean(-1, keepdim=True)
        return centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + 1e-5) * self.weight + self.bias


class Layer(nn.Module):
    def __init__(self, width, heads, causal):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(width, width)
        self.v = nn.Linear(width, width)
        self.o = nn.Linear(width, width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.ln1 = LayerNorm(width)
        self.ln2 = LayerNorm(width)

    def attend(self, x):
        q, k, v = self.q(x), self.k(x), self.v(x)
        n_tokens, head_width = x.shape[1], x.shape[2] // self.heads
        future = torch.arange(n_tokens)[None, :] > torch.arange(n_tokens)[:, None]
        outputs = []
        for head in range(self.heads):
            part = slice(head * head_width, (head + 1) * head_width)
            scores = torch.einsum("bqe,bke->bqk", q[..., part], k[..., part]) / math.sqrt(head_width)
            if self.causal:
                scores = scores.masked_fill(future, -math.inf)
            outputs.append(torch.softmax(scores, dim=-1) @ v[..., part])
        return self.o(torch.cat(outputs, dim=-1))

    def forward(self, x):
        x = x + self.attend(self.ln1(x))
        u = self.up(self.ln2(x))
        gelu = 0.5 * u * (1 + torch.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3)))
        return x + self.down(gelu)


class Network(nn.Module):
    def __init__(self, vocabulary, context, width, layers, heads, causal):
        super().__init__()
        self.wte = nn.Embedding(vocabulary, width)
        self.wpe = nn.Embedding(context, width)
        self.layers = nn.ModuleList([Layer(width, heads, causal) for _ in range(layers)])
        self.ln = LayerNorm(width)
        self.out = nn.Linear(width, vocabulary, bias=False)

    def forward(self, ids):
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
        for layer in self.layers:
            x = layer(x)
        return self.out(self.ln(x))


class Adapted(nn.Module):
    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.linear, self.alpha = linear, alpha
        bound = 1 / math.sqrt(rank)  # kaiming_uniform with a=sqrt(5) of an (in, rank) matrix: its fan-in is its second dimension
        self.a = nn.Parameter(torch.empty(linear.in_features, rank).uniform_(-bound, bound))
        self.b = nn.Parameter(torch.zeros(rank, linear.out_features))

    def forward(self, x):
        return self.linear(x) + self.alpha * ((x @ self.a) @ self.b)


class Messages(Dataset):
    def __init__(self, split, length):
        self.rows = []
        for text, label in zip(split.texts, split.labels, strict=True):
            ids = list(text.encode())
            if length is not None:
                ids = (ids + [PAD] * length)[:length]
            self.rows.append((torch.tensor(ids), label))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


def load_pretrained(network, path):
    stored = load_file(path)
    with torch.no_grad():
        network.wte.weight.copy_(stored["wte.weight"])
        network.wpe.weight.copy_(stored["wpe.weight"])
        for i, layer in enumerate(network.layers):
            for attribute, name in (("ln1", "ln_1"), ("ln2", "ln_2")):
                getattr(layer, attribute).weight.copy_(stored[f"h.{i}.{name}.weight"])
                getattr(layer, attribute).bias.copy_(stored[f"h.{i}.{name}.bias"])
            weights, biases = stored[f"h.{i}.attn.c_attn.weight"].T, stored[f"h.{i}.attn.c_attn.bias"]
            width = weights.shape[1]
            for part, linear in enumerate((layer.q, layer.k, layer.v)):
                linear.weight.copy_(weights[part * width : (part + 1) * width])
                linear.bias.copy_(biases[part * width : (part + 1) * width])
            for linear, name in ((layer.o, "attn.c_proj"), (layer.up, "mlp.c_fc"), (layer.down, "mlp.c_proj")):
                linear.weight.copy_(stored[f"h.{i}.{name}.weight"].T)
                linear.bias.copy_(stored[f"h.{i}.{name}.bias"])
        network.ln.weight.copy_(stored["ln_f.weight"])
        network.ln.bias.copy_(stored["ln_f.bias"])


def classifier(settings, weights_path):
    size = settings.model_size
    torch.manual_seed(settings.seed)
    network = Network(size.vocabulary_size, size.context_length, size.width, size.n_layer, size.n_head, not settings.disable_causal_mask)
    if settings.weights == "pretrained":
        load_pretrained(network, weights_path)
    for parameter in network.parameters():
        parameter.requires_grad = False
    torch.manual_seed(settings.seed)
    network.out = nn.Linear(size.width, 2)
    opened = {"last_block": [network.layers[-1], network.ln], "last_two_blocks": [*network.layers[-2:], network.ln], "all": [network]}
    for module in opened.get(settings.trainable_layers, []):
        for parameter in module.parameters():
            parameter.requires_grad = True
    if settings.trainable_layers.startswith("lora"):
        for layer in network.layers:
            for name in ("q", "k", "v", "o", "up", "down"):
                setattr(layer, name, Adapted(getattr(layer, name), settings.lora_rank, settings.lora_alpha))
        network.out = Adapted(network.out, settings.lora_rank, settings.lora_alpha)
    return network


def logits_of(network, ids, settings):
    logits = network(ids)
    if settings.average_embeddings:
        return logits.sum(dim=1) / ids.shape[1]
    if settings.trainable_token_pos == "first":
        return logits[:, 0, :]
    if settings.trainable_token_pos == "last":
        return logits[:, -1, :]
    return torch.stack([row[(row_ids != PAD).nonzero().max()] for row, row_ids in zip(logits, ids, strict=True)])


def mean_loss(network, loader, settings):
    losses = []
    for number, (ids, labels) in enumerate(loader):
        if number == settings.eval_iter:
            break
        with torch.no_grad():
            losses.append(F.cross_entropy(logits_of(network, ids, settings), labels).item())
    return sum(losses) / len(losses)


def right_of(network, loader, settings, batches=None):
    right = n = 0
    for number, (ids, labels) in enumerate(loader):
        if number == batches:
            break
        with torch.no_grad():
            predicted = logits_of(network, ids, settings).argmax(dim=1)
        right += (predicted == labels).sum().item()
        n += len(labels)
    return right, n


def finetune(settings, dataset, weights_path):
    """Returns the history as (epoch, step, train loss, validation loss, gradient norm), the epochs' accuracies, (right, n) of the three splits, the logits
    of the first training batch, and the norm of what trains.
    """
    if settings.no_padding:
        length = None
    elif settings.context_length == "longest_training_example":
        length = max(len(text.encode()) for text in dataset.train.texts)
    elif settings.context_length == "model_context_length":
        length = settings.model_size.context_length
    else:
        length = int(settings.context_length)
    network = classifier(settings, weights_path)
    train_loader = DataLoader(Messages(dataset.train, length), settings.batch_size, shuffle=True, drop_last=True)
    validation_loader = DataLoader(Messages(dataset.validation, length), settings.batch_size)
    test_loader = DataLoader(Messages(dataset.test, length), settings.batch_size)

    torch.manual_seed(settings.seed)
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    history, epoch_accuracies, step, first_logits = [], [], 0, None
    for epoch in range(settings.num_epochs):
        waiting = 0
        for ids, labels in train_loader:
            logits = logits_of(network, ids, settings)
            first_logits = logits.flatten().tolist() if first_logits is None else first_logits
            loss = F.cross_entropy(logits, labels) / settings.accumulation_steps
            loss.backward()
            gradient_norm = norm_of(parameter.grad for parameter in trainable if parameter.grad is not None)
            waiting += 1
            if waiting == settings.accumulation_steps:
                optimizer.step()
                optimizer.zero_grad()
                waiting = 0
            # The epoch's last update may fall short of the accumulation steps; it precedes the evaluation of its step.
            elif (step + 1) % len(train_loader) == 0:
                optimizer.step()
                optimizer.zero_grad()
            if step % settings.eval_freq == 0:
                losses = mean_loss(network, train_loader, settings), mean_loss(network, validation_loader, settings)
                history.append((epoch + 1, step, *losses, gradient_norm))
            step += 1
        accuracies = []
        for loader in (train_loader, validation_loader):
            right, n = right_of(network, loader, settings, settings.eval_iter)
            accuracies.append(right / n)
        epoch_accuracies.append(tuple(accuracies))
    counts = [right_of(network, loader, settings) for loader in (train_loader, validation_loader, test_loader)]
    return history, epoch_accuracies, counts, first_logits, norm_of(trainable)


def norm_of(tensors):
    return sum((tensor.detach() ** 2).sum().item() for tensor in tensors) ** 0.5
