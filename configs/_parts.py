"""The sections model and decode of configs/base.py, whose values others may give."""

from ml_collections import ConfigDict
from ml_collections import config_dict

integer = lambda: config_dict.placeholder(int)
number = lambda: config_dict.placeholder(float)
text = lambda: config_dict.placeholder(str)
flag = lambda: config_dict.placeholder(bool)
many = lambda: config_dict.placeholder(tuple)


def decode() -> ConfigDict:
    """Return the keys of writing text; None = as the task says, else as noted."""
    d = ConfigDict()
    d.method = text()  # sample | beam | contrastive | lookup | draft; sample
    d.max_tokens = integer()  # longest text written; 64
    d.min_tokens = integer()  # fewest tokens before the end; 0
    d.temperature = number()  # of sampling, 0 = greedy; 0
    d.top_k = integer()  # 0 = all; 0
    d.top_p = number()  # smallest set with this mass, 1 = all; 1
    d.min_p = number()  # of the largest probability, 0 = all; 0
    d.typical_p = number()  # mass of the most typical tokens, 1 = all; 1
    d.repetition_penalty = number()  # divides logits of tokens already there; 1
    d.presence_penalty = number()  # subtracted once from tokens of the text; 0
    d.frequency_penalty = number()  # subtracted for each time they stand there; 0
    d.no_repeat_ngram = integer()  # no run of so many tokens twice, 0 = off; 0
    d.beams = integer()  # of a beam search; 4
    d.beam_groups = integer()  # of diverse beam search; 1
    d.diversity = number()  # what a group pays for a token taken by another; 0.5
    d.length_penalty = text()  # gnmt | average | none; gnmt
    d.length_exponent = number()  # above 0 favours long texts; 0.6
    d.early_stopping = text()  # exact | bound | full, see decode/plan.py; exact
    d.alpha = number()  # weight of contrastive search's penalty; 0.6
    d.drafted = integer()  # tokens proposed at a time (lookup, draft); 4
    d.texts = integer()  # texts a prompt: samples or n-best; 1
    d.choose = text()  # of several texts: "" all | likeliest | vote; ""
    d.stop = many()  # texts that end a text and are no part of it; ()
    d.forbid = many()  # texts never written; ()
    d.prefix = text()  # what every text begins with; ""
    d.choices = many()  # the only texts that may be written; ()
    d.regex = text()  # pattern that a whole text matches; ""
    d.json_schema = text()  # JSON schema, or its file, that a text fits; ""
    d.draft = ""  # work directory of the model that drafts (method draft)
    d.weights = ""  # dtype weights are read in: "" as trained | bfloat16 | int8
    d.cache = ""  # dtype of the cache: "" as the products | float32 | bfloat16 | int8
    d.prefill = 0  # tokens of a prompt read at a time; 0 = all
    d.samples = 2  # texts written at each evaluation; 0 = none
    return d


def model() -> ConfigDict:
    """Return the model's keys; None = as the preset says."""
    m = ConfigDict()
    m.preset = ""  # FAMILY/SIZE, such as bert/base; "" = mini of the architecture
    m.vocab = integer()  # rows of the token table; None = the tokenizer's size
    m.width = integer()  # D
    m.layers = integer()  # L
    m.mlp = integer()  # F; 0 = 4 * width
    m.decoder_layers = integer()  # of an encoder-decoder; 0 = layers
    m.block = text()  # attention | lstm
    m.context = text()  # attention | vector: what a decoder reads of its encoder
    m.activation = text()  # gelu gelu_tanh relu relu2 silu quick_gelu
    m.gated = flag()  # activation(gate) * up
    m.mlp_bias = flag()  # biases of the feed-forward
    m.token_types = integer()  # rows of the token-type table; 0 = none
    m.embed_norm = flag()  # norm after the embeddings
    m.embed_scale = number()  # multiplies the embeddings
    m.embed_dim = integer()  # narrower token table; 0 = width
    m.embed_inputs = flag()  # positions and types as narrow, projected with them
    m.tied = flag()  # the head shares the token table
    m.head_scale = number()  # multiplies the last hidden state
    m.head_bias = flag()  # bias over the vocabulary
    m.head_transform = flag()  # dense, activation, norm before the vocabulary
    m.pooling = text()  # cls | mean: what an encoder's class head reads
    m.pooler = flag()  # dense and activation before a class head
    m.pooler_activation = text()  # tanh relu gelu
    m.pooler_norm = flag()  # norm after them
    m.head_dense_bias = flag()  # bias of pooler and transform
    m.class_bias = flag()  # bias of a class head
    m.logit_soft_cap = number()  # cap * tanh(logits / cap); 0 = off
    m.parallel = flag()  # attention and feed-forward side by side
    m.shared_layers = flag()  # one layer applied L times
    m.dropout = number()  # on embeddings and sublayer outputs
    m.attention_dropout = number()  # on attention weights
    m.init = text()  # normal | fan_in
    m.init_std = number()  # of normal
    m.scan_layers = flag()  # one compiled layer, for deep models
    m.remat = text()  # "" | full | dots: recomputed in the backward pass
    m.dtype = text()  # float32 | bfloat16, of activations and matmuls
    m.matmul = text()  # "" as dtype | int8: products of the layers, in training

    layer_parts(m)
    return m


def layer_parts(m: ConfigDict) -> None:
    """Add the keys of attention, norms and positions."""
    m.attention = ConfigDict()
    m.attention.heads = integer()  # N
    m.attention.kv_heads = integer()  # K; 0 = heads
    m.attention.head_dim = integer()  # H; 0 = width / heads
    m.attention.bias = flag()  # on query, key, value
    m.attention.out_bias = flag()  # on the output
    m.attention.scale = number()  # 0 = 1 / sqrt(H)
    m.attention.qk_norm = text()  # "" | head | width
    m.attention.soft_cap = number()  # 0 = off
    m.attention.window = many()  # sliding window per layer, cycled; 0 = full
    m.attention.implementation = text()  # xla | cudnn (GPU) | splash (TPU) | auto

    m.norm = ConfigDict()
    m.norm.kind = text()  # layer | rms | rms1
    m.norm.at = text()  # pre | post | sandwich | output
    m.norm.eps = number()  # added to the variance
    m.norm.final = flag()  # after the last layer
    m.norm.bias = flag()  # of kind layer
    m.norm.first = flag()  # before the attention of the first layer

    m.positions = ConfigDict()
    m.positions.kind = text()  # learned sinusoidal rotary t5 alibi disentangled none
    m.positions.size = integer()  # largest number of positions
    m.positions.offset = integer()  # first row of a learned table
    m.positions.base = many()  # rotary theta per layer, cycled
    m.positions.fraction = number()  # of the head dim that rotates
    m.positions.scaling = text()  # "" | linear | llama3 | yarn
    m.positions.factor = number()  # of the scaling
    m.positions.low = number()  # low frequency factor
    m.positions.high = number()  # high frequency factor
    m.positions.original = integer()  # length trained on before scaling
    m.positions.scaled = many()  # which layers are scaled, cycled
    m.positions.buckets = integer()  # of relative distances
    m.positions.distance = integer()  # largest relative distance
