"""Does the adaptation adapt? Trains every row of a table, scores it, and writes table, curves and pictures.

    python benchmarks/adaptation.py --camvid CAMVID --streets STREETS --out OUT            on a CPU, an hour or more
    python benchmarks/adaptation.py ... --profile full --seeds 0 1 2                        on a GPU
    python benchmarks/adaptation.py ... --profile short_vgg16 --vgg-weights FILE            on a CPU that knows bf16
    python benchmarks/adaptation.py ... --profile long_vgg16 --vgg-weights FILE             the same, an hour and more

Rows are the presets streets_to_camvid_*_lite0 and day_to_dusk_*_lite0, in the profiles *_vgg16 those of VGG-16. Profile
`full` trains each from ImageNet as its preset says. Profile `short` is for a CPU: one source-only run for each seed,
from which every row goes on for as many steps as every other; `control` is source-only going on, so that a gain is
adaptation's and not length's. Rows of a second stage go on from a row of the first: `dacs_stage2` (and
`both_stage2`, with a new discriminator beside it) from the adapted one, `control_stage2`, their floor, from `control`.

A finished run is kept, an interrupted one goes on where it stopped: start the command again. Each profile wants an OUT
of its own; where two share their base, `--bases` takes it from the other's OUT. Scores are of the last
checkpoint, never of the best one, on all images, with scores upsampled to the label maps' size. OUT/results.json has
every figure, OUT/table.md the tables; adaptation_plots.py draws from the former, adaptation_panels.py asks the first
seed's checkpoints about a few images.
"""

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, get_args

from adaptation_panels import draw_panels
from adaptation_plans import PROFILES, SPLITS, Gap, Plan, Profile, place, plan_of
from adaptation_plots import draw
from contest import machine

from adaptseg_training.config import DomainConfig
from adaptseg_training.data.domains import open_domain
from adaptseg_training.presets import preset_names


def main() -> int:
    options = _options()
    profile = PROFILES[options.profile]
    rows = _with_their_starts(profile, options.rows)
    results: list[dict[str, Any]] = []
    for seed in options.seeds:
        for gap in options.gaps:
            for row in profile.all_rows:
                if row not in rows or profile.preset(gap, row) not in preset_names():
                    continue
                plan = plan_of(profile, gap, row, seed, options)
                _train(plan, place(row, options))
                results.append(_score(plan, options))
    _write(results, options)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--camvid", type=Path, required=True, help="CamVid: train/ and val/, images/ and labels/")
    parser.add_argument("--streets", type=Path, help="synthetic_streets; for the gap streets_to_camvid")
    parser.add_argument("--out", type=Path, required=True, help="folder of runs and results")
    parser.add_argument("--bases", type=Path, help="the OUT of another table, whose base rows this one goes on from")
    parser.add_argument("--vgg-weights", default="imagenet", help="of the profiles *_vgg16: a file of ImageNet weights")
    parser.add_argument("--profile", choices=PROFILES, default="short")
    parser.add_argument("--gaps", nargs="+", choices=get_args(Gap), default=["streets_to_camvid"])
    parser.add_argument("--rows", nargs="+", default=[], help="only these rows")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    options = parser.parse_args()
    for row in options.rows:
        if row not in (known := PROFILES[options.profile].all_rows):
            parser.error(f"--rows {row}: profile {options.profile} has {', '.join(known)}")
    if options.streets is None and "streets_to_camvid" in options.gaps:
        parser.error("--streets is missing; the gap streets_to_camvid trains on them (or choose --gaps day_to_dusk)")
    return options


def _with_their_starts(profile: Profile, rows: Sequence[str]) -> set[str]:
    """`rows` (all of the profile's if empty) and those that they go on from."""
    if not rows:
        return set(profile.all_rows)
    first = {profile.second[row][1] for row in rows if row in profile.second}
    return {*rows, *first, *(("base",) if profile.warm_start else ())}


def _train(plan: Plan, out: Path) -> None:
    """Train, or go on; a run whose score is written is done."""
    run = out / plan.name
    arguments = [*plan.arguments, "--run.dir", str(out), "--run.name", plan.name]
    _check_same(run, shlex.join(["adaptseg-train", *arguments]))
    if (run / "score" / "result.json").is_file():
        return
    if any((run / "checkpoints").glob("step_*")):
        arguments = ["--run.resume", str(run)]
    _call("adaptseg_training.cli.train", arguments)


def _check_same(run: Path, command: str) -> None:
    """A run of another profile has the same name, and would be scored as if it were this one's."""
    record = run / "config.yaml"
    if record.is_file() and (made_by := record.read_text(encoding="utf-8").partition("\n")[0]) != f"# {command}":
        raise SystemExit(
            f"{run} was trained by another command. Choose another --out, or --bases of a like profile.\n"
            f"{made_by}\nwas, this would be\n# {command}"
        )


def _score(plan: Plan, options: argparse.Namespace) -> dict[str, Any]:
    run = place(plan.row, options) / plan.name
    result = run / "score" / "result.json"
    if not result.is_file():
        data = ["--data.dataset", "camvid", "--data.root", str(options.camvid), "--data.split", SPLITS[plan.gap]]
        last = _last(run)
        _call("adaptseg_training.cli.evaluate", ["--checkpoint", str(last), *data, "--out", str(result.parent)])
    score = json.loads(result.read_bytes())
    curve = json.loads((run / "metrics.json").read_bytes())["evaluations"]
    return {
        "gap": plan.gap,
        "row": plan.row,
        "seed": plan.seed,
        "after": plan.after,
        "floor": plan.floor,
        "command": shlex.join(["adaptseg-train", *plan.arguments]),
        "miou": score["miou"],
        "miou10": score["miou_over"]["camvid-10"],
        "accuracy": score["accuracy"],
        "iou": score["iou"],
        "images": score["images"],
        "curve": [[e["step"], e["miou"]] for e in curve],
    }


def _last(run: Path) -> Path:
    return max((run / "checkpoints").glob("step_*"))


def _call(module: str, arguments: Sequence[str]) -> None:
    """A command of this project's, in a process of its own."""
    print(f"$ {module.rsplit('.', 1)[-1]} {shlex.join(arguments)}", file=sys.stderr, flush=True)
    code = f"import sys; from {module} import main; sys.exit(main())"
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.DEVNULL)


def _write(results: list[dict[str, Any]], options: argparse.Namespace) -> None:
    record = {"machine": machine(), "profile": options.profile, "results": results}
    (options.out / "results.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    tables = [table(results, gap) for gap in options.gaps]
    (options.out / "table.md").write_text("\n".join(tables), encoding="utf-8")
    draw(results, options.out)
    for gap in options.gaps:
        _panels([r for r in results if r["gap"] == gap and r["seed"] == options.seeds[0]], gap, options)
    print("\n".join(tables))
    print(json.dumps({"rows": len(results), "results": str(options.out / "results.json")}))


def _panels(results: Sequence[dict[str, Any]], gap: Gap, options: argparse.Namespace) -> None:
    images = open_domain(DomainConfig("camvid", (options.camvid,), split=SPLITS[gap]), "evaluate")
    rows = {r["row"]: _last(options.out / f"{gap}_{r['row']}_s{r['seed']}") for r in results if r["row"] != "base"}
    if rows:
        draw_panels(rows, images, options.out / f"panels_{gap}.jpg")


def table(results: Sequence[dict[str, Any]], gap: str) -> str:
    """Markdown: a line a row, IoU in points, mean and spread over the seeds, gain over its floor, gap closed.

    What is closed is said of rows with the oracle's floor only: the others are longer than the oracle.
    """
    of_row: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        if result["gap"] == gap:
            of_row.setdefault(result["row"], []).append(result)
    if not of_row:
        return ""
    oracle = of_row.get("oracle")
    classes = list(next(iter(of_row.values()))[0]["iou"])
    lines = [f"| {gap} | seeds | mIoU11 | mIoU10 | gain | gap closed | {' | '.join(classes)} |"]
    lines.append("|---" * (6 + len(classes)) + "|")
    for row, runs in of_row.items():
        ours = _points(runs, "miou")
        floor = of_row.get(runs[0]["floor"])
        low = None if floor is None else _points(floor, "miou")
        high = _points(oracle, "miou") if oracle and oracle[0]["floor"] == runs[0]["floor"] else None
        gain = "" if low is None else f"{ours - low:+.1f}"
        closed = "" if low is None or high is None or high <= low else f"{100 * (ours - low) / (high - low):.0f} %"
        each = [f"{100 * mean(run['iou'][name] or 0.0 for run in runs):.0f}" for name in classes]
        cells = [row, str(len(runs)), _spread(runs, "miou"), _spread(runs, "miou10"), gain, closed, *each]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _points(runs: Sequence[dict[str, Any]], key: str) -> float:
    return 100 * mean(run[key] for run in runs)


def _spread(runs: Sequence[dict[str, Any]], key: str) -> str:
    spread = f" ± {100 * stdev(run[key] for run in runs):.1f}" if len(runs) > 1 else ""
    return f"{_points(runs, key):.1f}{spread}"


if __name__ == "__main__":
    raise SystemExit(main())
