"""How much of a small model's answer is the prompt: its words, shots, their order?"""

from lmtasks.studies import variants

PHRASES = {"review": "", "question": "question", "statement": "statement"}


def get_sweep():
    """Return the study: three phrasings, no shots or four of two draws in two orders."""
    found = {}
    for name, text in PHRASES.items():
        found[f"{name}-none"] = {"prompt.text": text}
        for draw in (0, 1):
            for order in (0, 1):
                found[f"{name}-draw{draw}-order{order}"] = {
                    "prompt.text": text,
                    "prompt.shots": 4,
                    "prompt.shots_seed": draw,
                    "prompt.shots_order": order,
                }
    return variants.Sweep(
        config="config.py",
        common={
            "data.dir": "$DATA/sentiment/sst2",
            "init": "$WEIGHTS/stories260K",
            # Without it the likelier of the two words is said of every review.
            "prompt.label_norm": "pmi",
        },
        variants=found,
        splits=("test",),
        trained=False,
    )
