"""A module of which some parameters get no gradient."""

import tiny
from pathways import CLASSES
from torch import nn


class TwoHeads(nn.Module):
    """A model with a second head that nothing uses, as distilled models have."""

    def __init__(self):
        super().__init__()
        self.model = tiny.model(CLASSES)
        self.other_head = nn.Linear(6, CLASSES)

    def forward(self, images):
        return self.model(images)
