"""`--ray` with and without an address, wherever it stands."""

import pytest

from hubfast.cli.bare_ray import with_address


@pytest.mark.parametrize(
    ("given", "parsed"),
    [
        ("hub.yaml --data x --ray", "hub.yaml --data x --ray auto"),
        ("--ray hub.yaml --data x", "--ray auto hub.yaml --data x"),
        ("hub.yaml --ray --data x", "hub.yaml --ray auto --data x"),
        ("--ray timm:resnet18 --data x", "--ray auto timm:resnet18 --data x"),
        ("--ray local:2 hub.yaml", "--ray local:2 hub.yaml"),
        ("--ray local hub.yaml", "--ray local hub.yaml"),
        ("--ray auto hub.yaml", "--ray auto hub.yaml"),
        ("--ray 10.0.0.1:6379 hub.yaml", "--ray 10.0.0.1:6379 hub.yaml"),
        ("--ray=head:6379 hub.yaml", "--ray=head:6379 hub.yaml"),
        ("hub.yaml -- --ray", "hub.yaml -- --ray"),
        ("hub.yaml --data x", "hub.yaml --data x"),
    ],
)
def test_an_address_is_not_needed(given, parsed):
    assert with_address(given.split()) == parsed.split()
