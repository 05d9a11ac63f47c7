"""Pretraining a small language model, from raw text to a continuation, step by step.

    python experiments/tutorials/clm.py

Two CPU cores, about two minutes; LMTASKS_TINY=1 runs every cell in seconds, with text
that means nothing. The `# %%` lines make cells in VS Code, PyCharm and Jupyter
(jupytext); from top to bottom it is a plain script.
"""

# %% [markdown]
# # A language model from scratch
#
# The text is what every Python brings along: the language reference that `help()` shows
# and a hundred readable modules of the standard library. A small decoder learns to
# predict it, token by token.

# %%
import functools
import math
import os
import pathlib
import tempfile

import jax
import optax

import lmtasks
from configs import base
from lmtasks.data import pipeline
from lmtasks.data import sources
from lmtasks.data import view
from lmtasks.metrics import compression
from lmtasks.models import model as models
from lmtasks.tasks import pydocs
from lmtasks.training import evaluate
from lmtasks.training import feed
from lmtasks.training import step as steps
from lmtasks.training import track

TINY = os.environ.get("LMTASKS_TINY") == "1"
WORK = pathlib.Path(tempfile.mkdtemp(prefix="lmtasks-clm-"))

# %% [markdown]
# ## 1. Raw text
#
# Documents, split by a hash of their names: no module is in two splits.

# %%
documents = sources.open_split(pydocs.TASK.source, "train")
print(
    f"{len(documents)} documents, {sum(len(d['text']) for d in documents):,} characters"
)
record = next(d for d in documents if d["name"] == "topic with")
print(record["text"][:300])

# %% [markdown]
# ## 2. An example
#
# For plain text there is no question and no answer, only the text.

# %%
example = pydocs.TASK.example(record)
print(type(example).__name__, repr(example.text[:40]))

# %% [markdown]
# ## 3. Config and tokenizer
#
# The tokenizer is trained with the run, on its training text: byte-pair encoding merges
# what often stands together, so that a token is a few letters on average. Fewer tokens
# a byte mean shorter rows and less to predict, but a larger table to learn.


# %%
def make_config():
    """Return the config of this tutorial."""
    c = base.pretrain()
    c.task, c.architecture = "pydocs", "decoder"
    c.tokenizer.kind, c.tokenizer.size = "bpe", 1024
    c.model.preset = "llama/tiny"
    c.model.width, c.model.layers, c.model.mlp = 128, 4, 384
    c.data.length = 128
    c.optim.learning_rate, c.optim.warmup_steps = 3e-3, 50
    c.train.steps, c.eval.every, c.log.every = 300, 150, 50
    c.eval.limit = 10
    c.decode.max_tokens, c.decode.temperature, c.decode.top_p = 40, 0.7, 0.9
    if TINY:
        c = base.tiny(c)
        c.eval.limit, c.tokenizer.size = 2, 1024
    c.train.batch_size = c.eval.batch_size = 16
    return c


config = make_config()
run = lmtasks.build(config)
text = "for name in sorted(names):"
print(*(run.tokenizer.piece(i) for i in run.tokenizer.encode(text)), sep=" | ")

# %% [markdown]
# ## 4. Features
#
# All documents are put one after another and rows are cut out of that stream, at
# another place in every epoch. Every slot has weight 1 and the next token as target.
# Where a document ends inside a row the next one is another segment: it does not see
# the first, its positions begin at 0, and the last token of one does not have to guess
# the first of the other (weight 0).

# %%
data = feed.read(run)
print(data.summary)
rows = data.train.rows
places = (rows.row(0, i) for i in range(len(rows)))
row = next(r for r in places if r["segments"][-1] > 1)
border = int((row["segments"] > 1).argmax())
table = view.table(row, run.tokenizer)
print(view.as_text(table[max(border - 4, 0) : border + 4]))

# %% [markdown]
# ## 5. A batch

# %%
batch = data.train.batch(0)
for key, array in batch.items():
    print(f"  {key:10} {array.dtype}{list(array.shape)}")

# %% [markdown]
# ## 6. The model
#
# Before training every token is about as likely as any other: the loss is near the
# logarithm of the size of the vocabulary. A good check of any new model.

# %%
params = models.unbox(jax.jit(run.model.init)(jax.random.key(0)))
logits = jax.jit(run.model.apply)(params, batch)
print(f"{models.count(params):,} parameters, logits {list(logits.shape)}")
sums = functools.partial(run.objective.loss, run.model.apply)
total, weight = jax.jit(sums)(params, batch)["loss"]
print(
    f"loss {total / weight:.3f}, log of the vocabulary {math.log(logits.shape[-1]):.3f}"
)

# %% [markdown]
# ## 7. Training

# %%
outcome = lmtasks.train(config, str(WORK))

# %% [markdown]
# ## 8. Metrics
#
# Perplexity depends on the tokenizer, since it counts tokens. Bits per byte do not:
# they say how well the text could be compressed with the model, and compare with any
# other model and with xz, which first reads the whole training text as well.

# %%
for line in track.read(WORK / "metrics.jsonl"):
    if line["split"] == "validation":
        print(f"step {line['step']:4}  perplexity {line['perplexity']:8.1f}", end="  ")
        print(f"bits per byte {line['bits_per_byte']:.3f}")
held_out = evaluate.read_split(run, "validation", predict=False).pieces
known = (d["text"] for d in documents.first(9 if TINY else 0))
bits = compression.xz_bits_per_byte(known, (e.text for e in held_out.examples))
print(f"xz after the training text: {bits:.3f} bits per byte")

# %% [markdown]
# ## 9. New text
#
# Sampled with temperature .7 from the tokens that make up 90% of the probability. At
# this size it has learned the look of Python and of its manual, not their sense.

# %%
loaded = lmtasks.load(str(WORK))
prompts = ["def read(self, size):\n", 'The "with" statement', "import "]
for prompt, written in zip(prompts, lmtasks.generate(loaded, prompts), strict=True):
    print(f"--- {prompt}[{written}]")

# %% [markdown]
# How likely is a text? `score` gives the log-likelihood of a target after a prompt.

# %%
for ending in (" self.name", " elephant"):
    (said,) = lmtasks.score(loaded, [("        return", ending)])
    print(f"return{ending}: {said['log_prob']:.1f} nats in {said['tokens']} tokens")

# %% [markdown]
# ## 10. A loop of one's own
#
# The step is one pure function (state, batch) -> (state, metrics), and its recipe takes
# any optax optimizer. Here is another one than the config can name.


# %%
def own_loop(run, tx, rate, count):
    """Return (parameters, losses) after `count` steps with an optimizer of optax."""
    batches = feed.read(run).train
    recipe = steps.Recipe(
        apply=run.model.apply,
        loss=run.objective.loss,
        tx=tx,
        schedule=lambda step: rate,  # only what the metrics report
    )
    init_key, run_key = jax.random.split(jax.random.key(run.config.seed))
    params = models.unbox(jax.jit(run.model.init)(init_key))
    state = steps.init_state(recipe, params, run_key)
    update = steps.jit_step(recipe)
    losses = []
    for k in range(count):
        state, metrics = update(state, batches.batch(k))
        losses.append(float(metrics["loss"]))
    return state.params, losses


def bits_per_byte(run, params, pieces):
    """Return the bits per byte of all texts: sums of all batches, divided once."""
    recipe = steps.Recipe(run.model.apply, run.objective.loss, tx=None, schedule=None)
    add_up = jax.jit(functools.partial(steps.eval_step, recipe))
    nats = 0.0
    for batch in pipeline.eval_batches(pieces, 16, data.train.shape):
        nats += float(add_up(params, batch)["loss"][0])
    return nats / math.log(2) / sum(len(e.text.encode()) for e in pieces.examples)


count = 4 if TINY else 100
own, losses = own_loop(run, optax.novograd(1e-2), 1e-2, count)
print(
    f"Novograd: loss {losses[0]:.3f} at step 1, {losses[-1]:.3f} at step {count};",
    end=" ",
)
print(f"{bits_per_byte(run, own, held_out):.3f} bits per byte")

# %% [markdown]
# The same function on the parameters that `lmtasks.train` left gives the number that it
# logged: evaluation, too, is only sums over batches.

# %%
mine = bits_per_byte(loaded.run, loaded.params, held_out)
print(f"{mine:.6f} by hand, {outcome.metrics['bits_per_byte']:.6f} logged")
