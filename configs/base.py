"""Every key of a run with its default and a comment; a config file sets differences.

from configs import base

def get_config():
    c = base.finetune()
    c.task = "sst2"
    return c
"""

from ml_collections import ConfigDict

from configs import _parts


def base() -> ConfigDict:
    """Return all keys with their defaults."""
    c = ConfigDict()
    c.task = "pydocs"  # see `lmtasks tasks`; mixture: several, see mix
    c.architecture = "decoder"  # encoder | decoder | encoder_decoder
    c.objective = ""  # "" = what fits the task; see `lmtasks tasks`
    c.seed = 0  # of parameters, data order and dropout
    c.init = ""  # where parameters come from: a work or a checkpoint directory

    c.data = ConfigDict()
    c.data.dir = ""  # folder of local files or of a prepared TFDS directory
    c.data.files = ConfigDict()  # split -> file, in data.dir or by its own path
    c.data.files.train = ""
    c.data.files.validation = ""
    c.data.files.test = ""
    c.data.fields = ConfigDict({}, allow_dotted_keys=True)  # record key -> column
    c.data.format = ""  # of local files; "" = by their ending
    c.data.labels = ()  # class names in order; () = the task's, or those found
    c.data.length = 128  # T, tokens in a row
    c.data.source_length = 128  # S, source tokens in a row (encoder-decoder)
    c.data.packing = True  # several examples a row, attention kept apart
    c.data.buckets = ()  # lengths that batches are padded to; () = chosen
    c.data.on_error = "raise"  # malformed record: raise | skip, counted | quarantine
    c.data.on_long = "truncate"  # text over the length: truncate | skip | raise
    c.data.limit = 0  # use only so many records of each split; 0 = all
    c.data.threads = 2  # that read ahead

    c.mix = ConfigDict()
    c.mix.tasks = ()  # of task "mixture": names of the tasks trained as one
    c.mix.dirs = ()  # folder of each one's data, as data.dir; "" = none
    c.mix.rates = ()  # share of the rows each one has; () = by its size
    c.mix.temperature = 1.0  # T of size^(1/T): 1 = proportional, more evens out
    c.mix.limit = 0  # rows that a size counts as at most; 0 = all

    c.tokenizer = ConfigDict()
    c.tokenizer.path = ""  # folder or file to load; "" = train `kind`
    c.tokenizer.kind = "byte"  # byte char word unigram bpe wordpiece bytebpe
    c.tokenizer.size = 4096  # pieces of a trained tokenizer (char, word: at most)

    c.prompt = ConfigDict()
    c.prompt.text = ""  # how an example reads as text, or a name; "" = the task's
    c.prompt.shots = 0  # solved training examples before it (few-shot)
    c.prompt.shots_seed = 0  # which ones
    c.prompt.shots_order = 0  # in which order; 0 = as they were drawn
    c.prompt.template = "plain"  # inst chatml llama3 gemma zephyr tokenizer | a file
    c.prompt.label_norm = "sum"  # label words: sum | tokens | bytes | pmi

    c.model = _parts.model()
    understanding(c)
    c.loss = ConfigDict()
    c.loss.label_smoothing = 0.0  # mass spread over all classes, training only
    c.loss.z_loss = 0.0  # factor of (log Z)^2, training only

    training(c)
    watching(c)
    c.decode = _parts.decode()
    c.lock()
    return c


def training(c: ConfigDict) -> None:
    """Add the keys of what is trained, and how."""
    c.train = ConfigDict()
    c.train.steps = 1000  # updates
    c.train.batch_size = 32  # rows of a step, over all devices
    c.train.accumulate = 1  # micro-batches of a step
    c.train.ema = 0.0  # decay of the averaged parameters; 0 = off
    c.train.stop_at = 0  # save and stop after this step, to go on later; 0 = never
    c.train.stuck_after = 1800.0  # seconds without a step that end a run; 0 = never
    c.train.freeze = ()  # regular expressions over parameter paths

    c.train.only = ()  # regular expressions too: train nothing but these

    c.lora = ConfigDict()
    c.lora.rank = 0  # of adapters beside frozen weights; 0 = off
    c.lora.alpha = 16.0  # their product is multiplied by alpha / rank
    c.lora.dropout = 0.0  # on what an adapter reads
    c.lora.rs = False  # alpha / sqrt(rank) instead
    c.lora.targets = ("(attn|cross)/(query|value)$",)  # regular expressions: weights
    c.lora.also = ()  # regular expressions: trained in full beside them

    c.soft = ConfigDict()
    c.soft.kind = ""  # trained vectors before the text: "" | prompt | prefix
    c.soft.length = 20  # how many of them
    c.soft.also = ()  # regular expressions: trained in full beside them

    c.optim = ConfigDict()
    c.optim.name = "adamw"  # adamw | adafactor | sgd | lion | muon
    c.optim.learning_rate = 1e-3  # peak
    c.optim.schedule = "cosine"  # constant cosine linear inverse_sqrt wsd
    c.optim.warmup_steps = 100  # linear rise to the peak
    c.optim.ramp = True  # False: the peak from the first step (T5)
    c.optim.decay_steps = 0  # last steps of wsd; 0 = a tenth
    c.optim.final_fraction = 0.0  # of the peak, at the end
    c.optim.clip_norm = 1.0  # of the whole gradient; 0 = off
    c.optim.weight_decay = 0.01  # decoupled
    c.optim.decay_mask = "matrices"  # matrices | kernels (no tables) | all
    c.optim.layer_decay = 1.0  # learning rate per layer from the top; 1 = off
    c.optim.b1 = 0.9  # Adam, Lion
    c.optim.b2 = 0.999  # Adam, Lion
    c.optim.eps = 1e-8  # Adam
    c.optim.momentum = 0.9  # SGD, Muon


def watching(c: ConfigDict) -> None:
    """Add the keys of evaluation, logs, checkpoints and devices."""
    c.eval = ConfigDict()
    c.eval.every = 200  # steps; 0 = only at the end
    c.eval.split = "validation"  # split that is evaluated
    c.eval.batch_size = 32  # rows; speed alone, but for the loss of objective embed
    c.eval.limit = 0  # evaluate only so many records; 0 = all
    c.eval.predict = True  # also predict and score, where the task has metrics
    c.eval.xz = False  # plain text: also say what xz needs after the training text
    c.eval.ngram = 0  # plain text: also a Kneser-Ney model of so many tokens; 0 = off
    c.eval.ema = False  # evaluate the averaged parameters
    c.eval.best = ""  # metric for checkpoint.keep_best and patience; "" = loss
    c.eval.mode = "min"  # min | max: which `best` is better
    c.eval.patience = 0  # evaluations without a better one before stopping; 0 = off

    c.log = ConfigDict()
    c.log.every = 20  # steps
    c.log.tensorboard = False  # needs tensorboardX
    c.log.wandb = False  # needs wandb

    c.checkpoint = ConfigDict()
    c.checkpoint.every = 500  # steps; 0 = only at the end
    c.checkpoint.keep = 2  # newest ones; -1 = all
    c.checkpoint.keep_best = 1  # by eval.best
    c.checkpoint.asynchronous = True  # write while training goes on
    c.checkpoint.verify = True  # compare checksums before one is read; else sizes alone

    c.guard = ConfigDict()
    c.guard.nan = "stop"  # a loss not finite: stop | skip | rollback
    c.guard.spike = "ignore"  # a loss that jumps: ignore | stop | skip | rollback
    c.guard.factor = 6.0  # deviations above the mean of those before: a jump
    c.guard.window = 128  # of how many losses before

    c.parallel = ConfigDict()
    c.parallel.replica = 1  # as data, over slices joined by the slower network
    c.parallel.data = -1  # devices along each axis; -1 = the rest
    c.parallel.fsdp = 1  # parameters in parts
    c.parallel.sequence = 1  # length in parts
    c.parallel.tensor = 1  # heads and hidden widths in parts
    c.parallel.rules = ()  # "NAME:AXIS": where a logical axis lies instead ("mlp:fsdp")
    c.parallel.mode = "jit"  # jit | pmap (data parallel only)


def understanding(c: ConfigDict) -> None:
    """Add the keys of the objectives that read text."""
    c.classify = ConfigDict()
    c.classify.kind = ""  # single | multi | regression; "" = as the labels are
    c.classify.weights = ()  # of the classes, one each, or balanced
    c.classify.threshold = 0.5  # multi: probability a label is given from
    c.classify.mixup = 0.0  # alpha of the share in which class vectors are mixed

    c.tag = ConfigDict()
    c.tag.strategy = "first"  # first | all: which pieces of a word carry its tag
    c.tag.stride = 32  # tokens that two windows of a long sentence share
    c.tag.aggregation = "first"  # of pieces: none | simple | first | average | max

    c.span = ConfigDict()
    c.span.stride = 128  # tokens that two windows of a long context share
    c.span.max_answer = 30  # tokens of the longest answer
    c.span.n_best = 20  # answers kept
    c.span.reduce = "mean"  # mean | sum of the losses of start and end
    c.span.no_answer = _parts.number()  # lead of no answer that wins; the task's

    c.mlm = ConfigDict()
    c.mlm.rate = 0.15  # of the tokens that are predicted
    c.mlm.mask = 0.8  # of those: hidden
    c.mlm.random = 0.1  # of those: another token in their place
    c.mlm.unit = "token"  # token | word | span: what is chosen together
    c.mlm.span_p = 0.2  # of the geometric distribution of a span's words
    c.mlm.span_max = 10  # words of the longest span
    c.mlm.top = 5  # fillers shown for a mask

    c.denoise = ConfigDict()
    c.denoise.kind = ""  # span prefix ul2 bart; decoder: prefix fim; "" = the first
    c.denoise.rate = _parts.number()  # of the tokens taken out; .15, bart .3
    c.denoise.span = 3.0  # tokens of a span on average
    c.denoise.ends = "noise"  # noise: the end is always taken out (T5) | any
    c.denoise.permute = True  # bart: sentences change places
    c.denoise.fim = 0.5  # fim: share of texts whose middle is moved
    c.denoise.spm = 0.5  # of those: the end comes first

    c.rtd = ConfigDict()
    c.rtd.rate = 0.15  # of the tokens that are replaced
    c.rtd.generator = ""  # work directory of the masked model that replaces

    c.embed = ConfigDict()
    c.embed.pooling = "mean"  # mean | cls | last | max
    c.embed.temperature = 0.05  # similarities are divided by it
    c.embed.normalize = True  # vectors of length 1

    c.augment = ConfigDict()
    c.augment.copies = 0  # changed copies of each training text; 0 = off
    c.augment.delete = 0.0  # share of words left out
    c.augment.swap = 0.0  # share of words that change places
    c.augment.fill = 0.0  # share of words a masked model fills anew
    c.augment.model = ""  # work directory of that model


def pretrain() -> ConfigDict:
    """Return the defaults for learning from plain text."""
    c = base()
    c.optim.weight_decay = 0.1
    c.optim.b2 = 0.95
    c.optim.final_fraction = 0.1
    return c


def finetune() -> ConfigDict:
    """Return the defaults for learning a task from examples."""
    c = base()
    c.optim.schedule = "linear"
    c.optim.learning_rate = 5e-4
    return c


def tiny(c: ConfigDict) -> ConfigDict:
    """Return the config shrunk so that it runs on a laptop in a minute."""
    c.model.preset = c.model.preset.split("/")[0] + "/tiny" if c.model.preset else ""
    for key, value in (("width", 32), ("layers", 2), ("mlp", 64)):
        c.model[key] = value
    c.model.attention.heads, c.model.attention.kv_heads = 4, 0
    c.model.attention.head_dim = 0
    c.data.length, c.data.source_length, c.data.limit = 64, 64, 64
    c.tokenizer.size = min(c.tokenizer.size, 600)
    c.train.steps, c.train.batch_size = 4, 4
    c.optim.warmup_steps = 1
    c.eval.every, c.eval.limit, c.eval.batch_size = 2, 8, 4
    c.log.every, c.checkpoint.every = 1, 2
    c.decode.max_tokens, c.decode.samples = 8, 1
    return c
