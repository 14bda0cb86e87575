"""What `hubfast tune` writes and shows of a tuned model."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from hubfast.utils.terminal import output_console

if TYPE_CHECKING:
    from hubfast.tuning import Tuned

RANKING, MODEL, REPORT, RESULT = "ranking.json", "model", "report.html", "result.json"


def in_folder(folder: Path, name: str) -> Path:
    """The path of a file in a folder, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def write_tuned(tuned: "Tuned", output: Path) -> None:
    """Writes the numbers, the model and the report into a folder."""
    from hubfast.report import write_tuning

    tuned.to_json(in_folder(output, RESULT))
    tuned.save(in_folder(output, MODEL))
    write_tuning(output / REPORT, tuned)


def show_tuned(tuned: "Tuned", output: Path) -> None:
    """Prints how good the model is, what it costs, and where it is."""
    from hubfast.tuning.measure import speed

    sample = "text" if tuned.framing is None else "image"
    table = Table(show_header=False, box=None)
    table.add_row("models", ", ".join(tuned.models))
    for name, found in tuned.evaluations.items():
        table.add_row(f"{name} {found.metric}", f"{found.value:.4f}")
        for each in tuned.baselines:
            table.add_row(f"  {each.name}, not tuned", f"{each.values[name]:.4f}")
    table.add_row("parameters", f"{tuned.cost.parameters / 1e6:.2f}M")
    table.add_row("multiply-adds", f"{tuned.cost.multiply_adds / 1e9:.4f}G per {sample}")
    table.add_row("training", speed(tuned.cost.iterations_per_second, "step"))
    table.add_row("inference", speed(tuned.cost.samples_per_second, sample))
    for stage, seconds in tuned.seconds.items():
        table.add_row(f"time to {stage}", f"{seconds:.1f} s")
    table.add_row("model", str(output / MODEL))
    table.add_row("report", str(output / REPORT))
    table.add_row("numbers", str(output / RESULT))
    console = output_console()
    console.print(Text.assemble((tuned.method, "bold"), f" on {tuned.data}"))
    console.print(table)
    for sentence in tuned.not_worth_it:
        console.print(Text(sentence, style="bold yellow"))
    for note in tuned.notes:
        console.print(Text(f"note: {note}", style="yellow"))
