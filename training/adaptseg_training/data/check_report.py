"""What `adaptseg-data check` found, for people and for programs."""

from typing import Any

from adaptseg_training.data.check import Findings, Kind, Problem

MOST_LISTED = 10


def as_text(findings: Findings) -> str:
    """A summary, then each kind of problem with what to do and its first files."""
    sizes = ", ".join(f"{count} of {h}x{w}" for (h, w), count in findings.sizes.most_common(3))
    more = ", ..." if len(findings.sizes) > 3 else ""
    lines = [f"{findings.images} images (height x width: {sizes or 'none readable'}{more})", _classes(findings)]
    for kind in Kind:
        problems = [p for p in findings.problems if p.kind is kind]
        if problems:
            lines += ["", *_section(kind, problems)]
    verdict = "Something must be mended." if findings.must_mend else "Nothing must be mended."
    return "\n".join([*lines, "", verdict])


def as_json(findings: Findings) -> dict[str, Any]:
    """JSON values; every problem is listed. Sizes are [height, width, number of images]."""
    return {
        "images": findings.images,
        "label_set": findings.label_set,
        "sizes": [[*size, count] for size, count in findings.sizes.most_common()],
        "pixels": findings.pixels,
        "problems": [
            {"kind": p.kind.name.lower(), "where": p.where, "what": p.what, "must_mend": p.kind.must_mend}
            for p in findings.problems
        ],
        "advice": {kind.name.lower(): kind.advice for kind in {p.kind for p in findings.problems}},
        "must_mend": findings.must_mend,
    }


def _classes(findings: Findings) -> str:
    if findings.label_set is None:
        return "no labels: usable as a target, not as a source or to score on"
    total = max(1, sum(findings.pixels.values()))
    shares = ", ".join(f"{name} {100 * count / total:.2f}" for name, count in findings.pixels.items())
    return f"{findings.label_set} classes, % of the labels' pixels: {shares}"


def _section(kind: Kind, problems: list[Problem]) -> list[str]:
    mark = "MEND" if kind.must_mend else "note"
    rows = [f"  {_row(p)}" for p in problems[:MOST_LISTED]]
    rest = len(problems) - len(rows)
    return [
        f"{mark} {kind.title}: {len(problems)}",
        f"  {kind.advice}",
        *rows,
        *([f"  ... and {rest} more; --json lists all"] if rest else []),
    ]


def _row(problem: Problem) -> str:
    """The file and what is wrong with it; messages of unreadable files name the file themselves."""
    if not problem.what:
        return problem.where
    return problem.what if problem.where in problem.what else f"{problem.where}: {problem.what}"
