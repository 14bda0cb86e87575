"""Target data: samples and targets from what people have, and checks of them."""

from hubfast.data.checks import MAX_UNREADABLE, class_sizes_note, readable
from hubfast.data.sources import as_target_data
from hubfast.data.target import TargetData

__all__ = ["MAX_UNREADABLE", "TargetData", "as_target_data", "class_sizes_note", "readable"]
