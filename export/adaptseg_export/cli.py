"""`adaptseg-export CHECKPOINT BUNDLE`, `adaptseg-export --verify BUNDLE`, `adaptseg-export --benchmark BUNDLE`."""

import sys
from collections.abc import Sequence

from adaptseg_export.options import ExportOptions, VerifyOptions, parse, parse_verify
from adaptseg_training.cli.common import guarded


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 written, verified or measured; 1 refused or failed; 2 usage."""
    words = sys.argv[1:] if argv is None else argv
    if "--benchmark" in words:
        from adaptseg_export import bench

        return bench.main([word for word in words if word != "--benchmark"])
    return guarded("adaptseg-export", export_command, words)


def export_command(words: Sequence[str]) -> int:
    """Parse, then export or verify; returns the exit code."""
    if "--verify" in words:
        return _verify(parse_verify([word for word in words if word != "--verify"]))
    return _run(parse(words))


def _run(options: ExportOptions) -> int:
    from adaptseg_export.export import export  # torch: not before the options are known to be right
    from adaptseg_export.report import report

    parity = export(options, say=_say)
    report(parity, options.bundle)
    return 0


def _verify(options: VerifyOptions) -> int:
    from adaptseg_export.probes import probes
    from adaptseg_export.report import report_checks
    from adaptseg_export.verify import load_those_here, verify
    from adaptseg_serve.bundle import open_bundle

    bundle = open_bundle(options.bundle)
    predictors = load_those_here(bundle, _say, options.threads)
    checks = verify(bundle, predictors, list(probes(bundle.preprocess, options.images)))
    if options.score is not None:
        from adaptseg_export.mious import score_all

        checks = score_all(bundle, predictors, checks, options.score)
    report_checks(checks)
    return 1 if any(check.fault for check in checks) else 0


def _say(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
