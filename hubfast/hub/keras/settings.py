"""How Keras is set up, or will be once it is imported."""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

DEFAULTS = {
    "backend": "tensorflow",
    "image_data_format": "channels_last",
    "floatx": "float32",
    "epsilon": 1e-7,
}


def settings() -> dict[str, Any]:
    """Keras' settings by their names: backend, order of axes and numbers.

    `KERAS_BACKEND` has the backend, else Keras' file of settings, else it is torch. TensorFlow in
    that file is no choice of its user: Keras itself writes that there when it is first imported,
    be TensorFlow installed or not.
    """
    if "keras" in sys.modules:
        keras = sys.modules["keras"].config
        return {name: getattr(keras, name)() for name in DEFAULTS}
    path = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "keras.json"
    saved = {}
    with suppress(OSError, ValueError):  # as Keras itself reads it
        saved = json.loads(path.read_text())
    found = {name: saved.get(name, usual) for name, usual in DEFAULTS.items()}
    chosen = "torch" if found["backend"] == DEFAULTS["backend"] else found["backend"]
    return {**found, "backend": os.environ.get("KERAS_BACKEND") or chosen}


def set_backend() -> None:
    """Makes the backend of `settings` that of Keras, which reads it at its import."""
    if "keras" not in sys.modules:
        os.environ.setdefault("KERAS_BACKEND", settings()["backend"])
