"""Learning to write an answer, from raw conversations to a reply, step by step.

    python experiments/tutorials/generate.py

Two CPU cores, about a minute; LMTASKS_TINY=1 runs every cell in seconds, with
answers that mean nothing. The `# %%` lines make cells in VS Code, PyCharm and Jupyter
(jupytext); from top to bottom it is a plain script.
"""

# %% [markdown]
# # Writing answers
#
# A decoder reads a prompt and writes what follows. Trained on conversations it learns
# to reply: this is instruction tuning, on a world small enough for two CPU cores.
#
#     the cat stands behind the oak . what is in front ?      the oak .
#
# The loss is on the replies only. What the user says is read, never learned, and here
# we see how that is arranged, token by token.

# %%
import os
import pathlib
import tempfile

import jax

import lmtasks
from configs import base
from lmtasks.data import chat
from lmtasks.data import examples
from lmtasks.data import sources
from lmtasks.data import templates
from lmtasks.data import view
from lmtasks.models import model as models
from lmtasks.tasks import toy_turns
from lmtasks.training import feed
from lmtasks.training import optim
from lmtasks.training import step as steps
from lmtasks.training import track

TINY = os.environ.get("LMTASKS_TINY") == "1"
WORK = pathlib.Path(tempfile.mkdtemp(prefix="lmtasks-generate-"))

# %% [markdown]
# ## 1. Raw data
#
# Records made by `lmtasks.data.toy`: lists of turns, some with a second question. Your
# own file could hold such lines as they are: `lmtasks train --config=own:chat`.

# %%
records = sources.open_split(toy_turns.TASK.source, "train")
short = next(r for r in records if len(r["turns"]) == 2)
long = next(r for r in records if len(r["turns"]) == 4)
for turn in long["turns"]:
    print(f"  {turn['role']:10} {turn['text']}")

# %% [markdown]
# ## 2. Examples
#
# `Turns` is what every task becomes that is solved by writing: translation, summaries,
# questions. The last turn of the assistant is the answer to learn.

# %%
example = toy_turns.TASK.example(short)
conversation = toy_turns.TASK.example(long)
print(example)

# %% [markdown]
# ## 3. Text to tokens, with a mask
#
# A template says what stands around each turn: markers as in ChatML, or nothing. Every
# piece of text is encoded apart, so the mask over the reply is exact by construction.
# The end-of-sequence is learned too, or the model would never stop.


# %%
def make_config():
    """Return the config of this tutorial."""
    c = base.finetune()
    c.task, c.architecture = "toy_turns", "decoder"
    c.tokenizer.kind, c.tokenizer.size = "word", 300
    c.model.width, c.model.layers, c.model.mlp = 64, 2, 256
    c.model.attention.heads, c.model.attention.head_dim = 4, 0
    c.model.dropout = c.model.attention_dropout = 0.0
    c.data.length = 64
    c.optim.learning_rate, c.optim.warmup_steps = 2e-3, 100
    c.train.steps, c.eval.every, c.log.every = 400, 100, 50
    c.decode.max_tokens = 8
    if TINY:
        c = base.tiny(c)
    c.train.batch_size, c.eval.batch_size = 32, 96
    return c


config = make_config()
run = lmtasks.build(config)
for name in ("plain", "inst"):
    template = templates.TEMPLATES[name]
    ids, learned = chat.render(example.turns, run.tokenizer, template, bos=True)
    shown = (run.tokenizer.piece(i) for i in ids)
    marked = (f"[[{p}]]" if on else p for p, on in zip(shown, learned, strict=True))
    print(f"{name:6}", *marked)

# %% [markdown]
# The word tokenizer of this run has never seen `[INST]`, hence the unknown pieces: the
# template has to fit the tokenizer. The plain one is right here.
#
# ## 4. Features
#
# Each slot predicts the next token, so a row is the conversation without its last
# token, and the targets are the same conversation without its first.

# %%
(row,) = run.objective.featurize(conversation, run.tokenizer)
print(view.as_line(view.table(row, run.tokenizer)))
print()
print(view.as_text(view.table(row, run.tokenizer)[-12:]))

# %% [markdown]
# Both replies of the conversation are learned in one pass: a causal model never sees
# the token it must predict. At inference the prompt comes from the same function, cut
# where the reply would begin.

# %%
(query,) = run.objective.query(example, run.tokenizer)
print("prompt:", *(run.tokenizer.piece(int(i)) for i in query["tokens"]))

# %% [markdown]
# ## 5. A batch
#
# Short conversations are packed into rows of one length; `at` lists the few slots that
# carry weight, and only these go through the vocabulary, the costly end of a model.

# %%
data = feed.read(run)
batch = data.train.batch(0)
print(data.summary)
for key, array in batch.items():
    print(f"  {key:10} {array.dtype}{list(array.shape)}")

# %% [markdown]
# ## 6. The model
#
# A pure function of (parameters, batch): for each gathered slot a number for every
# token of the vocabulary.

# %%
params = models.unbox(jax.jit(run.model.init)(jax.random.key(0)))
logits = jax.jit(run.model.apply)(params, batch)
print(f"{models.count(params):,} parameters, logits {list(logits.shape)}")

# %% [markdown]
# ## 7. Training
#
# Watch the samples under each evaluation: first noise, then the form of an answer, then
# the right one.

# %%
outcome = lmtasks.train(config, str(WORK))

# %% [markdown]
# ## 8. Metrics
#
# The loss can fall long before a reply is right as a whole, so it is also written out
# and compared: `exact_match` over worlds that training never showed.

# %%
for line in track.read(WORK / "metrics.jsonl"):
    if line["split"] == "validation":
        print(f"step {line['step']:5}  loss {line['loss']:.3f}", end="  ")
        print(f"exact match {line['exact_match']:.3f}")

# %% [markdown]
# ## 9. Asking
#
# `generate` takes prompts and gives texts. A conversation goes through `predict`, with
# all its turns; and `score` says how likely a given reply is.

# %%
loaded = lmtasks.load(str(WORK))
fact = "the small bee stands behind the tall rose ."
print(lmtasks.generate(loaded, [f"{fact} what is in front ?"]))

user, assistant = "user", "assistant"
talk = examples.Turns(
    (
        examples.Turn(user, f"{fact} what is in front ?"),
        examples.Turn(assistant, "the rose ."),
        examples.Turn(user, "and at the back ?"),
    )
)
print(lmtasks.predict(loaded, [talk]))

replies = [
    (f"{fact} what is in front ?", reply) for reply in ("the rose .", "the bee .")
]
for (_, reply), said in zip(replies, lmtasks.score(loaded, replies), strict=True):
    print(f"log-likelihood of {reply!r}: {said['log_prob']:.2f}")

# %% [markdown]
# ## 10. A loop of one's own
#
# The step is one pure function (state, batch) -> (state, metrics). Here it is driven by
# hand, and with a change that takes one line: the loss is wrapped to weigh the first
# token of a reply twice. Sums come as (sum, weight), and only the step divides.


# %%
def own_loop(run, loss, count):
    """Return (parameters, losses) after `count` steps on a loss of one's own."""
    batches = feed.read(run).train
    recipe = steps.Recipe(
        apply=run.model.apply,
        loss=loss,
        tx=optim.build(run.optim, run.config.train.steps),
        schedule=optim.schedule(run.optim, run.config.train.steps),
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


def first_token_twice(apply, params, batch, rng):
    """Return the sums of the loss with the first token of each reply counted twice."""
    weights = batch["weights"]
    before = jax.numpy.pad(weights, ((0, 0), (1, 0)))[:, :-1]
    first = (weights > 0) & (before == 0)
    batch = {**batch, "weights": jax.numpy.where(first, 2 * weights, weights)}
    return run.objective.loss(apply, params, batch, rng)


count = 4 if TINY else 100
plain, weighted = (
    own_loop(run, loss, count)[1] for loss in (run.objective.loss, first_token_twice)
)
logged = [r for r in track.read(WORK / "metrics.jsonl") if r["split"] == "train"]
logged = next(r for r in logged if r["step"] == count)
print(f"step {count}: {logged['loss']:.6f} logged, {plain[-1]:.6f} by hand,", end=" ")
print(f"{weighted[-1]:.6f} with the first token twice")
