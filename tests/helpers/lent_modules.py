"""Float tensors, a small body, and the features of a module over some samples."""

import torch
from torch import nn

from hubfast import as_source, as_target_data
from hubfast.hub import Extraction

COUNT = 9


def samples_and_classes():
    torch.manual_seed(0)
    return torch.rand(COUNT, 3, 8, 8), torch.arange(COUNT) % 3


def run(model, samples, **how):
    data = as_target_data((samples, torch.arange(len(samples)) % 3))
    batches = list(as_source(model).load().batches(data, Extraction(batch_size=4, **how)))
    logits = [b.logits for b in batches]
    features = torch.cat([b.features for b in batches])
    return features, None if logits[0] is None else torch.cat(logits)


def body():
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
