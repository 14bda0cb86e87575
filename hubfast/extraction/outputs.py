"""What a model gives for a block of samples, and its copy in the cache."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hubfast.extraction.entry import CacheEntry, EntryStore
from hubfast.extraction.points import PointFacts
from hubfast.hub.model import Extraction
from hubfast.hub.points import LAST

MOST_CLASSES = 4096  # source classes up to which logits are kept that no score asked for yet


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a model gives for the b samples of a block that can be read."""

    features: Tensor | None  # (b, D); None where only the logits were kept
    logits: Tensor | None  # of its source classes, (b, Cs)
    has_classifier: bool  # whether there are logits, be they kept or not
    tally: Mapping[str, int] = field(default_factory=dict)  # see `hubfast.hub.Model`


class OutputStore:
    """The outputs of one model in the cache, by block.

    Args:
        cache: The cache.
        model: What determines the model's outputs, as `hubfast.hub.identity` gives it.
        options: How it is run; the kind of the device and the precision are part of the key.
        folds: Whether it is first made ready to run, which changes last bits.
        hardware: What `device_kind` gives where it is run; empty for this process.
        point: The feature point that the outputs are of; its name is part of the key, but for that
            which every model has.
    """

    def __init__(
        self,
        cache: EntryStore,
        model: Mapping[str, Any],
        options: Extraction,
        *,
        folds: bool,
        hardware: str = "",
        point: str = str(LAST),
    ):
        self.cache, self.device = cache, options.device
        kind = hardware or device_kind(options.device)
        how = {"device": kind, "precision": options.precision}
        self.model = {"model": dict(model), **how, "folded": folds}
        self.base = self.model if point == str(LAST) else {**self.model, "point": point}
        self._asked = str(options.points)
        self._rows: _Rows | None = None

    def get(self, samples: str, *, features: bool, logits: bool) -> Outputs | None:
        """The outputs for the block of that digest, if they hold what is asked for."""
        entry = self.cache.get(self._key(samples))
        if entry is None:
            return None
        facts, tensors = entry.facts, entry.tensors
        lacks = logits and facts["has_classifier"] and "logits" not in tensors
        if lacks or (features and "features" not in tensors):
            return None
        found = {name: x.to(self.device) for name, x in tensors.items()}
        return Outputs(
            found.get("features"), found.get("logits"), facts["has_classifier"], facts["tally"]
        )

    def gather(self, samples: Sequence[bytes], *, logits: bool) -> Outputs | None:
        """The outputs for samples that were run in other blocks, if all of them were.

        Args:
            samples: The digest of each sample.
            logits: Whether logits are asked for.
        """
        if self._rows is None:
            listed = self.cache.get(self._catalogue)
            blocks = [] if listed is None else listed.facts["blocks"]
            entries = (self.cache.get(self._key(block)) for block in blocks)
            self._rows = _Rows([e for e in entries if e is not None and "digests" in e.tensors])
        return self._rows.gather(samples, self.device, logits=logits)

    def has(self, samples: str) -> bool:
        """Whether there is something for the block of that digest."""
        return self._key(samples) in self.cache

    def look_again(self, samples: str) -> None:
        """Lists the folder of the entry for a block, which refreshes what a network told of it."""
        self.cache.look_again(self._key(samples))

    def put(
        self,
        samples: str,
        digests: Sequence[bytes],
        outputs: Outputs,
        *,
        features: bool,
        logits: bool,
    ) -> None:
        """Keeps the outputs for the block of that digest.

        Args:
            samples: The digest of the block.
            digests: The digest of each sample that can be read.
            outputs: The outputs.
            features: Whether the features are kept.
            logits: Whether the logits are kept however many they are.
        """
        tensors = {}
        if features and outputs.features is not None:
            tensors["features"] = outputs.features.cpu()
        kept = outputs.logits
        if kept is not None and (logits or (features and kept.shape[1] <= MOST_CLASSES)):
            tensors["logits"] = kept.cpu()
        if not tensors:
            return
        if "features" in tensors:
            flat = torch.frombuffer(bytearray(b"".join(digests)), dtype=torch.uint8)
            tensors["digests"] = flat.view(len(digests), -1)
        facts = {"tally": dict(outputs.tally), "has_classifier": outputs.has_classifier}
        self.cache.put(self._key(samples), tensors, facts)

    def drop_features(self, samples: str, *, logits: bool) -> bool:
        """Deletes the features of a block, with its logits or without; gives if there were any."""
        key = self._key(samples)
        entry = self.cache.get(key)
        if entry is None or "features" not in entry.tensors:
            return False
        left = {name: x for name, x in entry.tensors.items() if logits and name == "logits"}
        if left:
            self.cache.put(key, left, entry.facts)
        else:
            self.cache.delete(key)
        return True

    def enlist(self, samples: str) -> None:
        """Adds a block to the list of those whose features are kept, if they are.

        Another process that does so at the same time may undo it: the block is then not found by
        its samples, and still by its own digest.
        """
        if not self.has(samples):
            return
        listed = self.cache.get(self._catalogue)
        blocks = [] if listed is None else listed.facts["blocks"]
        if samples not in blocks:
            self.cache.put(self._catalogue, {}, {"blocks": [*blocks, samples]})

    def facts(self, names: Sequence[str]) -> Mapping[str, Any] | None:
        """What is known of the model itself, if these very facts were kept."""
        entry = self.cache.get(self._card(names))
        return None if entry is None else entry.facts

    def put_facts(self, facts: Mapping[str, Any]) -> None:
        """Keeps what is known of the model itself."""
        self.cache.put(self._card([*facts]), {}, facts)

    def points(self) -> PointFacts | None:
        """Which points the model has of those that are asked for, if that was kept."""
        entry = self.cache.get(self._told)
        return None if entry is None else PointFacts.of_facts(entry.facts)

    def put_points(self, told: PointFacts) -> None:
        """Keeps which points the model has of those that are asked for."""
        self.cache.put(self._told, {}, told.as_facts())

    @property
    def _told(self) -> dict[str, Any]:
        return {"kind": "points", **self.model, "asked": self._asked}

    @property
    def _catalogue(self) -> dict[str, Any]:
        return {"kind": "blocks", **self.base}

    def _card(self, names: Sequence[str]) -> dict[str, Any]:
        return {"kind": "model", "facts": sorted(names), **self.model}

    def _key(self, samples: str) -> dict[str, Any]:
        return {"kind": "outputs", **self.base, "samples": samples}


class _Rows:
    """Outputs by the digest of the sample."""

    def __init__(self, entries: Sequence[CacheEntry]):
        self._entries = entries
        self._where = {
            digest: (number, row)
            for number, entry in enumerate(entries)
            if not entry.facts["tally"]  # which tells of no single sample
            for row, digest in enumerate(_split(entry.tensors["digests"]))
        }

    def gather(self, samples: Sequence[bytes], device: str, *, logits: bool) -> Outputs | None:
        places = [self._where.get(sample) for sample in samples]
        known = [place for place in places if place is not None]
        if not known or len(known) < len(places):
            return None
        used = [self._entries[number] for number, _ in known]
        classified = all(entry.facts["has_classifier"] for entry in used)
        names = ["features"]
        if classified and all("logits" in entry.tensors for entry in used):
            names.append("logits")
        if logits and classified and "logits" not in names:
            return None
        stacked = {
            name: torch.stack([self._entries[n].tensors[name][row] for n, row in known])
            for name in names
        }
        found = {name: x.to(device) for name, x in stacked.items()}
        return Outputs(found["features"], found.get("logits"), classified)


def _split(digests: Tensor) -> list[bytes]:
    """The rows of `(n, 32)` uint8."""
    return [row.tobytes() for row in digests.numpy()]


def device_kind(device: str) -> str:
    """What the last bits of a model's outputs may depend on: the GPU, or the CPU's instructions."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu {torch.backends.cpu.get_cpu_capability()}"
