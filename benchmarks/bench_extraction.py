"""What scoring adds to feature extraction: ResNet-50 at 224 pixels.

python -m pytest benchmarks/bench_extraction.py -s
"""

import numpy as np
import timm
from recording import record

import hubfast

COUNT, CLASSES, LIMIT = 384, 10, 0.05


def test_scoring_share(pytestconfig):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (COUNT, 224, 224, 3), dtype=np.uint8)
    model = timm.create_model("resnet50", pretrained=False)  # time does not depend on weights
    found = hubfast.rank(
        [model], (images, np.arange(COUNT) % CLASSES), batch_size=32, progress=False
    )
    seconds = found[0].seconds
    extraction = seconds.prepare + seconds.forward
    share = seconds.score / extraction
    print(
        f"\nresnet50, {COUNT} images at 224 pixels: extraction {extraction:.1f} s, "
        f"scoring {seconds.score:.2f} s: {100 * share:.2f} %"
    )
    row = {"what": f"scoring share of resnet50 at 224, n={COUNT}", "share": share}
    record(pytestconfig, {**row, "extraction_s": extraction, "score_s": seconds.score})
    assert share <= LIMIT
