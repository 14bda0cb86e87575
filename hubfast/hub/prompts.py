"""Prompts that name classes: what models of images and texts are asked, in words."""

from dataclasses import dataclass

TEMPLATES = ("a photo of a {}.", "a photo of the {}.", "an image of a {}.")
LACKS = "no text tower: zero_shot needs a model of transformers that embeds images and texts"
PLACE = "{}"  # where a name stands in a template


@dataclass(frozen=True)
class Prompts:
    """Names of classes, and the sentences that they are put into.

    Args:
        names: One name per class, in the order of the classes.
        templates: Sentences with `{}` in the place of the name.

    Raises:
        ValueError: There are no two names, one is empty or comes twice, or a template has no place
            for a name.
    """

    names: tuple[str, ...]
    templates: tuple[str, ...] = TEMPLATES

    def __post_init__(self) -> None:
        if len(self.names) < 2:
            raise ValueError(f"class_names must be at least 2, got {list(self.names)}")
        if any(not name.strip() for name in self.names):
            raise ValueError("class_names must each have a character, got an empty one")
        if twice := [name for name in self.names if self.names.count(name) > 1]:
            raise ValueError(f"class_names must be each once, got {twice[0]!r} twice")
        if not self.templates:
            raise ValueError("templates must be at least one, got none")
        if odd := [each for each in self.templates if PLACE not in each]:
            raise ValueError(f"templates must have {{}} in the place of the name, got {odd[0]!r}")

    def texts(self) -> list[str]:
        """All prompts: those of the first name in all templates, then those of the next."""
        return [
            template.replace(PLACE, name.replace("_", " "))
            for name in self.names
            for template in self.templates
        ]
