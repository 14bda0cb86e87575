"""Peak memory of rank(), at 20,000 and at 200,000 samples, each in a process of its own.

python -m pytest benchmarks/bench_memory.py -s

`features`: a callable that makes features batch by batch, as a network would, of width 1,024.
`images`: a small module with a transform of its own over images of 4 x 4 in one array, which is
48 bytes a sample; what is prepared ahead has 200 MB.
"""

import subprocess
import sys

import pytest
from recording import record

WIDTH, CLASSES, LIMIT = 1_024, 100, 1.05
START = f"""
import sys, numpy as np, torch, hubfast
from hubfast.hub import as_source
torch.manual_seed(0)
count = int(sys.argv[1])
index = torch.arange(count)
labels = index % {CLASSES}
"""
RANK = {
    "features": f"""
centres = torch.randn({CLASSES}, {WIDTH})
def model(rows):
    return centres[rows[:, 0].long() % {CLASSES}] + torch.randn(len(rows), {WIDTH})
found = hubfast.rank([model], (index[:, None].float(), labels), batch_size=512, progress=False)
""",
    "images": f"""
images = np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, {WIDTH}), torch.nn.ReLU())
def transform(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
hub = [as_source(module, transform=transform)]
found = hubfast.rank(hub, (images, labels), memory="200M", progress=False)
""",
}
END = """
assert found[0].error is None, found[0].error
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) / 1024)
"""


@pytest.mark.parametrize("what", RANK)
def test_peak_memory_does_not_grow_with_samples(pytestconfig, what):
    peak = {}
    for count in (20_000, 200_000):
        code = START + RANK[what] + END
        done = subprocess.check_output([sys.executable, "-c", code, str(count)], text=True)
        peak[count] = float(done)
        print(f"\n{what} N={count} D={WIDTH}: peak {peak[count]:.0f} MiB")
    ratio = peak[200_000] / peak[20_000]
    record(pytestconfig, {"what": f"peak MiB of {what}, D={WIDTH}", "peak": peak, "ratio": ratio})
    assert ratio <= LIMIT
