"""`adaptseg-export CHECKPOINT BUNDLE`."""

import sys

from adaptseg_export.options import ExportOptions, parse
from adaptseg_serve.errors import AdaptSegError


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 written, 1 refused or failed, 2 usage."""
    options = parse(argv)
    try:
        _run(options)
    except AdaptSegError as error:
        print(f"adaptseg-export: {error}", file=sys.stderr)
        return 1
    return 0


def _run(options: ExportOptions) -> None:
    from adaptseg_export.export import export  # torch: not before the options are known to be right
    from adaptseg_export.report import report

    parity = export(options, say=lambda line: print(line, file=sys.stderr))
    report(parity, options.bundle)


if __name__ == "__main__":
    sys.exit(main())
