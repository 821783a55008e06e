"""Scores for people."""

from typing import Any

from rich.table import Table


def table(summary: dict[str, Any]) -> Table:
    """The table of an evaluation's summary, with a column for the oracle and the gap to it where there is one."""
    oracle = summary.get("oracle")
    result = Table(title=f"{summary['model']} on {summary['images']} images ({summary['runtime']})")
    result.add_column("class")
    for heading in ("IoU", *(("oracle", "gap") if oracle else ())):
        result.add_column(heading, justify="right")
    for name, iou in summary["iou"].items():
        against = (oracle["iou"][name], oracle["iou_gap"][name]) if oracle else ()
        style = "dim" if name in summary.get("excluded", ()) else None
        result.add_row(name, *map(percent, (iou, *against)), style=style)
    result.add_section()
    whole = (oracle["miou"], oracle["gap"]) if oracle else ()
    result.add_row(f"mIoU over {len(summary['iou'])}", *map(percent, (summary["miou"], *whole)), style="bold")
    for name, miou in summary["miou_over"].items():
        whole = (oracle["miou_over"].get(name), oracle["gap_over"][name]) if oracle else ()
        result.add_row(f"mIoU, {name}", *map(percent, (miou, *whole)), style="bold")
    if "miou_subset" in summary:
        kept = len(summary["iou"]) - len(summary["excluded"])
        result.add_row(f"mIoU over {kept}", percent(summary["miou_subset"]), style="bold")
    result.add_row("pixel accuracy", percent(summary["accuracy"]))
    result.add_row("mean accuracy", percent(summary["mean_accuracy"]))
    result.add_row("frequency-weighted IoU", percent(summary["frequency_weighted_iou"]))
    return result


def percent(value: float | None) -> str:
    return "absent" if value is None else f"{100 * value:.2f} %"
