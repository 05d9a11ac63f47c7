"""The same task on three architectures of one size: which learns sentiment best?"""

from lmtasks.studies import variants


def get_sweep():
    """Return the study: SST-2 from scratch, each as its packaged config tunes it."""
    return variants.Sweep(
        config="sst2",
        common={"data.dir": "$DATA/sentiment/sst2"},
        variants={
            name: {"config": f"sst2:{name}"}
            for name in ("encoder", "decoder", "encoder_decoder")
        },
        seeds=(0, 1, 2),
        splits=("validation", "test"),
        step="best",
    )
