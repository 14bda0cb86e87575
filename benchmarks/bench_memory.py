"""Peak memory of ranking a stream of features, at 20,000 and at 200,000 samples.

python -m pytest benchmarks/bench_memory.py -s
"""

import subprocess
import sys

from recording import record

WIDTH, CLASSES, LIMIT = 1_024, 100, 1.05
CODE = f"""
import sys, torch, hubfast
count = int(sys.argv[1])
centres = torch.randn({CLASSES}, {WIDTH})
def model(rows):  # features are made batch by batch, as a network would
    return centres[rows[:, 0].long() % {CLASSES}] + torch.randn(len(rows), {WIDTH})
index = torch.arange(count)
data = index[:, None].float(), index % {CLASSES}
found = hubfast.rank([model], data, batch_size=512, progress=False)
assert found[0].error is None, found[0].error
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) / 1024)
"""


def test_peak_memory_does_not_grow_with_samples(pytestconfig):
    peak = {}
    for count in (20_000, 200_000):
        done = subprocess.check_output([sys.executable, "-c", CODE, str(count)], text=True)
        peak[count] = float(done)
        print(f"\nN={count} D={WIDTH}: peak {peak[count]:.0f} MiB")
    ratio = peak[200_000] / peak[20_000]
    record(pytestconfig, {"what": f"peak MiB, D={WIDTH}", "peak": peak, "ratio": ratio})
    assert ratio <= LIMIT
