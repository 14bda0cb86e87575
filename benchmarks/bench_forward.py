"""Forward passes of timm models: as they are, with BatchNorm folded, channels last, and both.

python benchmarks/bench_forward.py [resnet50 ...] [--batches 1 8 32] [--threads 2] [--record]

Random weights, images of the model's own size, freed memory kept by the process. All forms of a
model in turn in one process, milliseconds an image, the least of all rounds but the first, which
warms up: whatever else the machine does can only add to it. `--clock cpu` counts the seconds of
the processor instead of the wall's, for a machine that others use: with `--threads 1` only, since
threads that wait for each other spend them as well.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable

import timm
import torch
from recording import RESULTS, on_machine
from torch import nn

from hubfast.nn.folding import fold_norms
from hubfast.nn.inference import put_channels_last
from hubfast.utils.allocator import give_back_memory, keep_freed_memory

MODELS = (
    *("resnet18", "resnet50", "mobilenetv3_small_100", "efficientnet_b0", "regnety_002"),
    *("densenet121", "convnext_atto", "vit_tiny_patch16_224", "mixer_s32_224", "levit_128s"),
    *("repvgg_a0", "ghostnet_100", "inception_v3", "resnext50_32x4d", "dla34"),
    *("swin_tiny_patch4_window7_224", "vgg11_bn", "nf_resnet50", "hrnet_w18_small"),
)
FORMS = ("plain", "folded", "last", "both")
LEAST = 8  # images in a round


def made(name: str, device: str) -> dict[str, nn.Module]:
    """The model in each form; without those of folding where that changes nothing."""
    torch.manual_seed(0)
    plain = timm.create_model(name).eval()
    images = torch.zeros(1, *plain.pretrained_cfg["input_size"])
    forms = {"plain": plain, "folded": copy.deepcopy(plain)}
    forms["last"] = copy.deepcopy(plain)
    count = fold_norms(forms["folded"], images)
    forms["both"] = copy.deepcopy(forms["folded"])
    for form in ("last", "both"):
        put_channels_last(forms[form])
    for module in forms.values():
        module.to(device)
    return forms if count else {form: forms[form] for form in ("plain", "last")}


def seconds(run: Callable[[torch.Tensor], object], x: torch.Tensor, options) -> float:
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    times = max(1, LEAST // len(x))
    began = clock()
    for _ in range(times):
        run(x)
    if x.is_cuda:
        torch.cuda.synchronize()
    return (clock() - began) / times / len(x)


@torch.inference_mode()
def measured(name: str, options: argparse.Namespace) -> dict[str, dict[int, float]]:
    """Milliseconds an image of each form, by the size of the batch."""
    forms = made(name, options.device)
    found: dict[str, dict[int, float]] = {form: {} for form in forms}
    size = forms["plain"].pretrained_cfg["input_size"]
    for batch in options.batches:
        x = torch.randn(batch, *size, device=options.device)
        for number in range(options.rounds + 1):
            for form, model in forms.items():
                if form not in options.forms:
                    continue
                took = 1e3 * seconds(model, x, options)
                if number:
                    found[form][batch] = round(min(found[form].get(batch, took), took), 3)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4, 8, 16, 32, 64])
    parser.add_argument("--forms", nargs="+", default=list(FORMS), choices=FORMS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", default="wall", choices=("wall", "cpu"))
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    if options.clock == "cpu" and options.threads != 1:
        parser.error("--clock cpu needs --threads 1")
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    for name in options.models:
        row = {"what": f"forward {name}", "device": options.device}
        row |= {"threads": options.threads, "clock": options.clock}
        row["ms_per_image"] = measured(name, options)
        give_back_memory()
        print(json.dumps(row), flush=True)
        if options.record:
            kind = "cpu" if options.device == "cpu" else "gpu"
            with (RESULTS / f"{kind}.jsonl").open("a") as file:
                file.write(json.dumps(on_machine(row)) + "\n")


if __name__ == "__main__":
    main()
