"""Finding the classifier: by running a network, and by its layers."""

import torch
from torch import nn

from hubfast.nn.heads import find_classifier, last_linear, linear_calls


def test_the_classifier_is_the_layer_whose_output_is_returned():
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).train()
    assert find_classifier(network, torch.zeros(1, 4)) == ("3", network[3])
    assert network.training
    assert find_classifier(network[:3], torch.zeros(1, 4)) == ("", None)
    assert find_classifier(nn.Linear(4, 3), torch.zeros(1, 4)) == ("", None)


def test_the_last_linear_layer_is_not_that_inside_of_attention():
    network = nn.ModuleDict({"first": nn.Linear(4, 4), "attention": nn.MultiheadAttention(4, 2)})
    assert last_linear(network) == "first"
    assert last_linear(nn.ReLU()) is None


def test_calls_are_seen_last_first():
    network = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    with linear_calls(network, 2) as last:
        out = network(torch.zeros(1, 4))
    assert [call.layer for call in last] == [network[1], network[0]]
    assert last[0].out is out
    assert last[0].given is last[1].out
    network(torch.zeros(1, 4))
    assert last[0].out is out
