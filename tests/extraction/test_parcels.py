"""What workers send that share no folder with the driver."""

import pytest
import torch

from hubfast.extraction.cache import Cache
from hubfast.extraction.cluster.parcels import Parcels
from hubfast.extraction.entry import DamagedError

KEY, OTHER = {"kind": "outputs", "samples": "a"}, {"kind": "outputs", "samples": "b"}


def test_a_parcel_is_an_entry(tmp_path):
    parcels, cache = Parcels(), Cache(tmp_path / "cache")
    features = torch.arange(6.0).reshape(2, 3)
    parcels.put(KEY, {"features": features}, {"tally": {"cut": 1}})
    parcels.put(OTHER, {}, {"seen": []})
    parcels.delete(OTHER)
    assert KEY in parcels
    assert OTHER not in parcels
    assert parcels.get(OTHER) is None
    assert torch.equal(parcels.get(KEY).tensors["features"], features)
    (content,) = parcels.take()
    assert parcels.take() == ()
    assert KEY not in parcels
    cache.install(content)
    found = cache.get(KEY)
    assert torch.equal(found.tensors["features"], features)
    assert found.facts == {"tally": {"cut": 1}}
    assert cache.verify() == []


@pytest.mark.parametrize("place", [0, 40, -1])
def test_damage_on_the_way_is_found(tmp_path, place):
    parcels, cache = Parcels(), Cache(tmp_path / "cache")
    parcels.put(KEY, {"features": torch.arange(6.0)}, {})
    (content,) = parcels.take()
    broken = bytearray(content)
    broken[place] ^= 1
    with pytest.raises(DamagedError):
        cache.install(bytes(broken))
    assert cache.get(KEY) is None
