"""Text classification from raw records to an answer, step by step.

    python experiments/tutorials/classify.py

Two CPU cores, about a minute; LMTASKS_TINY=1 runs every cell in seconds,
with answers that mean nothing. The `# %%` lines make cells in VS Code, PyCharm and
Jupyter (jupytext); from top to bottom it is a plain script.
"""

# %% [markdown]
# # Classification
#
# The question: given a little story, is a thing in front, yes or no?
#
#     the old hen stands behind the fern . is the hen in front ?      no
#
# The stories come from `lmtasks.data.toy`, so nothing is downloaded. They are made so
# that the words alone do not tell: each story also occurs with its things swapped and
# the other answer. What has to be learned is who stands where.

# %%
import functools
import os
import pathlib
import tempfile

import jax
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import lmtasks
from configs import base
from lmtasks.data import examples
from lmtasks.data import pipeline
from lmtasks.data import sources
from lmtasks.data import view
from lmtasks.models import model as models
from lmtasks.tasks import toy_labelled
from lmtasks.training import evaluate
from lmtasks.training import feed
from lmtasks.training import optim
from lmtasks.training import step as steps
from lmtasks.training import track

TINY = os.environ.get("LMTASKS_TINY") == "1"
WORK = pathlib.Path(tempfile.mkdtemp(prefix="lmtasks-classify-"))

# %% [markdown]
# ## 1. Raw data
#
# A source has splits, and a split is a list: it has a length and an index. These
# records are dicts; with your own CSV file they would be its rows.

# %%
records = sources.open_split(toy_labelled.TASK.source, "train")
print(len(records), "training records, the first three:")
for i in range(3):
    print(" ", records[i])

# %% [markdown]
# A yardstick before any network: logistic regression on single words and pairs of
# words. It guesses, so what comes below is not read off the vocabulary.

# %%
train, held_out = (
    [(r["text"], r["label"]) for r in list(split)[:1000]]
    for split in (records, sources.open_split(toy_labelled.TASK.source, "validation"))
)
bag = make_pipeline(CountVectorizer(ngram_range=(1, 2)), LogisticRegression())
bag.fit(*zip(*train, strict=True))
print(f"a bag of words: {bag.score(*zip(*held_out, strict=True)):.3f} held out")

# %% [markdown]
# ## 2. Examples
#
# A task turns a record into an example, which is still text: it knows what is the text
# and what is the label, and nothing of tokens or models.

# %%
example = toy_labelled.TASK.example(records[0])
print(example)

# %% [markdown]
# ## 3. A config
#
# One config describes the whole run, and these few lines are all that differs from the
# defaults of `configs/base.py`. `lmtasks config` prints every key with its meaning.


# %%
def make_config(architecture="encoder"):
    """Return the config of this tutorial."""
    c = base.finetune()
    c.task, c.architecture = "toy_labelled", architecture
    c.tokenizer.kind, c.tokenizer.size = "word", 300
    c.model.width, c.model.layers, c.model.mlp = 64, 2, 256
    c.model.attention.heads, c.model.attention.head_dim = 4, 0
    c.model.dropout = c.model.attention_dropout = 0.0
    c.data.length = c.data.source_length = 64
    c.optim.learning_rate, c.optim.warmup_steps = 2e-3, 100
    c.train.steps, c.eval.every, c.log.every = 600, 100, 50
    if TINY:
        c = base.tiny(c)
    c.train.batch_size = c.eval.batch_size = 32
    return c


config = make_config()
run = lmtasks.build(config)
print("labels:", run.task.labels, " vocabulary:", run.tokenizer.size)

# %% [markdown]
# ## 4. Features
#
# The objective turns an example into what the model reads. For an encoder that is
# `[CLS] text [SEP]`, and the answer is a target at the place of [CLS]: the only slot
# with weight 1, so the only one that the loss looks at.

# %%
(row,) = run.objective.featurize(example, run.tokenizer)
print(view.as_text(view.table(row, run.tokenizer, run.task.labels)))

# %% [markdown]
# The same task on a decoder is solved by words: the label is text after the prompt, and
# the loss is on its tokens. One word of the config is changed, and the task is not.

# %%
decoder = lmtasks.build(make_config("decoder"))
(words,) = decoder.objective.featurize(example, decoder.tokenizer)
print(view.as_text(view.table(words, decoder.tokenizer)))

# %% [markdown]
# ## 5. A batch
#
# Rows have one length. Instead of padding short examples, packing puts several into a
# row and numbers them (`segments`); attention stays inside a segment and `positions`
# begin again at 0, so an example is read as if it were alone.

# %%
data = feed.read(run)
batch = data.train.batch(0)
print(data.summary)
for key, array in batch.items():
    print(f"  {key:12} {array.dtype}{list(array.shape)}")
print("segments of the first row: ", *batch["segments"][0])
print("positions of the first row:", *batch["positions"][0])

# %% [markdown]
# ## 6. The model
#
# A model is a pure function of (parameters, batch). Its output here are two numbers a
# slot, one for each label; the softmax of those at [CLS] is the answer.

# %%
params = models.unbox(jax.jit(run.model.init)(jax.random.key(0)))
logits = jax.jit(run.model.apply)(params, batch)
print(f"{models.count(params):,} parameters, logits {list(logits.shape)}")

# %% [markdown]
# ## 7. Training
#
# `lmtasks.train` is what `lmtasks train` calls. Everything about the run lands in the
# work directory; called again, it goes on where it was stopped.

# %%
outcome = lmtasks.train(config, str(WORK))

# %% [markdown]
# ## 8. Metrics
#
# A row of metrics.jsonl for each log and each evaluation. `lmtasks plot` draws them.
# The evaluation stories are of worlds that training never showed.

# %%
for line in track.read(WORK / "metrics.jsonl"):
    if line["split"] == "validation":
        print(f"step {line['step']:5}  loss {line['loss']:.3f}", end="  ")
        print(f"accuracy {line['accuracy']:.3f}")

# %% [markdown]
# ## 9. New inputs
#
# The prompt and the special tokens come from the same function as in training.

# %%
loaded = lmtasks.load(str(WORK))
questions = (
    "the small bee stands behind the tall rose . is the rose in front ?",
    "the tall rose stands behind the small bee . is the rose in front ?",
)
answers = lmtasks.predict(loaded, [examples.Labelled(text) for text in questions])
for text, answer in zip(questions, answers, strict=True):
    print(f"{text}  ->  {answer['label']} ({answer['score']:.3f})")

# %% [markdown]
# ## 10. A loop of one's own
#
# Nothing above is needed to train. The step is one pure function
# (state, batch) -> (state, metrics); the recipe says what it is made of, and each of
# its parts can be replaced by another function of the same form.


# %%
def own_loop(run, count):
    """Return (parameters, losses) after `count` steps."""
    batches = feed.read(run).train
    recipe = steps.Recipe(
        apply=run.model.apply,
        loss=run.objective.loss,
        tx=optim.build(run.optim, run.config.train.steps),
        schedule=optim.schedule(run.optim, run.config.train.steps),
    )
    # The same two keys as `lmtasks.train` makes of the seed.
    init_key, run_key = jax.random.split(jax.random.key(run.config.seed))
    params = models.unbox(jax.jit(run.model.init)(init_key))
    state = steps.init_state(recipe, params, run_key)
    update = steps.jit_step(recipe)
    losses = []
    for k in range(count):
        state, metrics = update(state, batches.batch(k))
        losses.append(float(metrics["loss"]))
    return state.params, losses


own, losses = own_loop(run, run.config.train.steps)

# %% [markdown]
# It is the same training: the numbers are those of `metrics.jsonl`. And the evaluation
# is sums and weights, added up over all batches and divided once.

# %%
logged = [r for r in track.read(WORK / "metrics.jsonl") if r["split"] == "train"]
for line in logged[:3]:
    print(f"step {line['step']:4}: {line['loss']:.6f} logged", end=", ")
    print(f"{losses[line['step'] - 1]:.6f} by the loop above")

recipe = steps.Recipe(run.model.apply, run.objective.loss, tx=None, schedule=None)
add_up = jax.jit(functools.partial(steps.eval_step, recipe))
pieces = evaluate.read_split(run, "validation", predict=False).pieces
hits = weight = 0.0
for batch in pipeline.eval_batches(pieces, 32, data.train.shape):
    sums = jax.device_get(add_up(own, batch))
    hits, weight = hits + sums["accuracy"][0], weight + sums["accuracy"][1]
print(f"held-out accuracy of the own loop: {hits / weight:.3f}")
