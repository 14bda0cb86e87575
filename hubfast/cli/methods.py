"""Names of the methods of tuning, for help and completion, which start without torch.

`hubfast.tuning.methods.registry` says all else of them; a test holds the names to it.
"""

ONE_MODEL = ("single", "bss", "l2-sp", "delta", "co-tuning", "stoch-norm")
SEVERAL_MODELS = (
    "kd",
    "b-tuning",
    "ensemble",
    "distill",
    "knowledge-flow",
    "hub-pathway",
    "zoo",
    "zoo-lite",
)
