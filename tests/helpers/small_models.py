"""Small models of every kind of source, made on the spot."""

import json
import warnings
from pathlib import Path

import torch
from torch import nn

SIDE = 16
PREPROCESSING = {"input_size": [3, SIDE, SIDE], "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}


class Small(nn.Module):
    """Convolution, pooling, features of width 6, a classifier of 5 classes."""

    def __init__(self, end: nn.Module | None = None):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.fc = nn.Linear(6, 5)
        self.end = end or nn.Identity()

    def forward(self, x):
        return self.end(self.fc(self.body(x)))


def export_onnx(
    model: nn.Module, path: Path, *, batch: int | None = None, beside: bool = False, **notes: str
) -> None:
    """An ONNX file with metadata `notes`.

    Of any batch size unless `batch` is given; its weights are in a file of their own if `beside`.
    """
    import onnx

    example = torch.rand(batch or 2, 3, SIDE, SIDE)
    free = None if batch else ({0: torch.export.Dim("batch")},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(),
            (example,),
            path,
            dynamic_shapes=free,
            verbose=False,
            external_data=beside,
        )
    loaded = onnx.load(path, load_external_data=False)
    for key, value in notes.items():
        loaded.metadata_props.add(key=key, value=value)
    onnx.save(loaded, path)


def export_program(model: nn.Module, path: Path, *, batch: int | None = None) -> None:
    """A torch.export program that holds its preprocessing."""
    example = torch.rand(batch or 2, 3, SIDE, SIDE)
    free = None if batch else ({0: torch.export.Dim("batch")},)
    program = torch.export.export(model.eval(), (example,), dynamic_shapes=free)
    extra = {"preprocessing.json": json.dumps(PREPROCESSING)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, path, extra_files=extra)


def vision_transformer(folder: Path, *, classes: int = 7) -> nn.Module:
    """A transformers ViT classifier with its image processor, saved in `folder`."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=SIDE,
        patch_size=8,
        num_labels=classes,
    )
    model = ViTForImageClassification(config).eval()
    model.save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    ViTImageProcessor(size=size, image_mean=[0.3] * 3, image_std=[0.6] * 3).save_pretrained(folder)
    return model


def text_tokenizer(folder: Path):
    """A word-level tokenizer of a few words, saved in `folder`."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(special_tokens=["[PAD]", "[UNK]"])
    words.train_from_iterator(["good film bad a the very dull fine"], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", model_max_length=8
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def text_model(folder: Path, *, classifier: bool) -> nn.Module:
    """A transformers BERT with its tokenizer, saved in `folder`."""
    from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

    text_tokenizer(folder)
    config = BertConfig(
        vocab_size=16,
        hidden_size=12,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=8,
        num_labels=3,
    )
    model = (BertForSequenceClassification if classifier else BertForMaskedLM)(config).eval()
    model.save_pretrained(folder)
    return model


def keras_model(path: Path, *, rescaling: bool = True, end: str | None = "softmax"):
    """A saved Keras classifier of images in 0..255."""
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            *([layers.Rescaling(1 / 127.5, offset=-1)] if rescaling else []),
            layers.Conv2D(6, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(5, activation=end),
        ]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Keras with NumPy 2
        model.save(path)
    return model


HUBCONF = '''
"""A torch.hub repository."""
dependencies = ["torch"]
from models import Model, to_tensor


def small(pretrained=False, width=4):
    """A model."""
    model = Model(width)
    if pretrained:
        for p in model.parameters():
            p.data.fill_({value})
    model.transform = to_tensor
    return model


def plain():
    """A model that does not say how its images are prepared."""
    return Model(4)


def no_module():
    return 3
'''
MODELS = """
import torch
from torch import nn
from torchvision.transforms.functional import pil_to_tensor


def to_tensor(image):
    return pil_to_tensor(image) / 255


class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.a = nn.Linear(3, width)
        self.b = nn.Linear(width, 2)

    def forward(self, x):
        return self.b(self.a(x.mean((2, 3))))
"""


def torch_hub_repository(folder: Path, value: float) -> Path:
    """A local torch.hub repository whose trained weights are all `value`."""
    folder.mkdir()
    (folder / "hubconf.py").write_text(HUBCONF.replace("{value}", str(value)))
    (folder / "models.py").write_text(MODELS)
    return folder
