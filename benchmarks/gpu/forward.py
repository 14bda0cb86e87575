"""Forward passes of timm models: layout, folding, precision, batch size; share of sums."""

import copy

import torch
from gpu.jobs import Say, Sizes
from gpu.timing import Timing, in_ms, milliseconds, timed
from torch import nn

FOLDED, LAST = "folded", "both"  # BatchNorm folded; and convolutions channels last besides


def passes(name: str, say: Say, sizes: Sizes) -> None:
    """Milliseconds per batch of each form, in float32 and bfloat16, for each batch size."""
    import timm

    torch.manual_seed(0)
    plain = timm.create_model(name).eval()
    size = plain.pretrained_cfg["input_size"]
    size = size if sizes.pixels == 224 else (3, sizes.pixels, sizes.pixels)
    forms = _forms(plain, size)
    for precision in (torch.float32, torch.bfloat16):
        models = {form: copy.deepcopy(m).to("cuda", precision) for form, m in forms.items()}
        for batch in sizes.batches:
            x = torch.randn(batch, *size, device="cuda", dtype=precision)
            with torch.inference_mode():
                calls = {form: (lambda _, m=m, x=x: m(x)) for form, m in models.items()}
                found, errors = timed(calls, sizes)
            ratio, dtype = _ratio(found), str(precision).removeprefix("torch.")
            row = {"model": name, "dtype": dtype, "batch": batch, "ms": in_ms(found)}
            if batch == max(sizes.batches) and ratio is not None:
                row["figures"] = {f"forward.{name}.{dtype}.last_over_folded": ratio}
            say(what="forward", last_over_folded=ratio, errors=errors, **row)
        del models
        torch.cuda.empty_cache()


def _forms(plain: nn.Module, size: tuple[int, ...]) -> dict[str, nn.Module]:
    from hubfast.nn.folding import fold_norms
    from hubfast.nn.inference import put_channels_last

    forms = {"plain": plain, FOLDED: copy.deepcopy(plain), LAST: copy.deepcopy(plain)}
    for form in (FOLDED, LAST):
        fold_norms(forms[form], torch.zeros(2, *size))
    put_channels_last(forms[LAST])
    return forms


def _ratio(found: dict[str, Timing]) -> float | None:
    if not {FOLDED, LAST} <= set(found):
        return None
    return found[LAST].ms / found[FOLDED].ms


def statistics(say: Say, sizes: Sizes) -> None:
    """What the sums of a batch's features take beside the forward pass that made them."""
    import timm

    from hubfast.scores import FeatureStatistics

    batch = max(sizes.batches)
    model = timm.create_model(sizes.network, num_classes=0).cuda().eval()
    images = torch.rand(batch, 3, sizes.pixels, sizes.pixels, device="cuda")
    labels = torch.arange(batch, device="cuda") % sizes.classes
    with torch.inference_mode():
        features = model(images)
        forward = milliseconds(lambda _: model(images), sizes)
    stats = FeatureStatistics("classification")
    while stats.count < 2 * features.shape[1]:  # batches then go into the Gram matrix
        stats.update(features, labels)
    update = milliseconds(lambda _: stats.update(features, labels), sizes)
    share = update.ms / forward.ms
    say(
        what="FeatureStatistics",
        batch=batch,
        forward_ms=forward,
        update_ms=update,
        figures={"forward.statistics_share": share},
    )
