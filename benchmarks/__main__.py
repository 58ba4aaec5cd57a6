"""Arguments, and the order of things."""

import argparse
import datetime
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import chart, machine, report, suites, targets, versions
from benchmarks.contestants import CEILING, CNNX, CNNX_BEFORE, CONTESTANTS
from benchmarks.interleave import QUICK, Plan
from benchmarks.networks import ALL_NETWORKS

BUSY = 0.5  # load average of the last minute


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.against:
        run, plan = versions.run, versions.QUICK if options.quick else versions.PLAN
    else:
        run, plan = suites.run, QUICK if options.quick else Plan()
    settings = suites.Settings(
        *(options.threads, plan, options.quick, options.networks, options.without, options.against),
        *(options.seed, options.first, options.count, options.tensorflow),
    )
    about = {
        **machine.describe(),
        "threads": options.threads,
        "date": datetime.date.today().isoformat(),
        "command": command(options),
    }
    if about["load"] is not None and about["load"] > BUSY:
        print(f"warning: this machine is busy (load {about['load']}); the figures will be off", file=sys.stderr)
    rows = []
    for suite in options.only:
        of_suite = []
        for row in run(suite, settings):
            # As they come, for who waits; the tables follow.
            figures = ", ".join(f"{name} {value:.2f}" for name, value in row.figures.items())
            print(f"{row.suite}: {row.name}: {figures or 'not measured'}", file=sys.stderr, flush=True)
            of_suite.append(row)
        rows += of_suite
        print(f"\n{report.tables(of_suite)}", flush=True)
    if options.json:
        options.json.write_text(report.as_json(about, rows), encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(report.as_markdown(about, rows), encoding="utf-8")
    if options.chart:
        chart.draw(rows, options.chart)
    if options.against:
        print(versions.summary(rows))
    if options.check:
        missed = versions.misses(rows) if options.against else targets.misses(rows)
        print("\n".join(missed) if missed else "All targets of these rows are met.")
        return 1 if missed else 0
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description="cnnx against its peers, measured in turn.")
    parser.add_argument("--only", metavar="SUITE,...", type=_list(suites.SUITES), default=suites.USUAL)
    parser.add_argument("--networks", metavar="NETWORK,...", type=_list(tuple(ALL_NETWORKS)))
    peers = tuple(name for name in CONTESTANTS if name not in (CNNX, CNNX_BEFORE, CEILING))
    parser.add_argument("--without", metavar="PEER,...", type=_list(peers), default=(), help="peers to leave out")
    parser.add_argument(
        "--against",
        metavar="FOLDER",
        type=Path,
        help="another version of cnnx, built in place there, is the only peer",
    )
    drawn = parser.add_argument_group("random networks", "for --only random, which no run has unless it is asked for")
    drawn.add_argument("--seed", type=_natural, default=0, help="other networks for each")
    drawn.add_argument("--count", type=_natural, default=60, help="how many networks")
    drawn.add_argument("--first", metavar="NUMBER", type=_natural, default=0, help="number of the first network")
    drawn.add_argument("--tensorflow", action="store_true", help="trains them as well")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="few repetitions: to try the suite, not to report")
    parser.add_argument("--json", metavar="FILE", type=Path)
    parser.add_argument("--markdown", metavar="FILE", type=Path)
    parser.add_argument("--chart", metavar="FILE.png", help="of the training steps; needs matplotlib")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target of these rows is not met")
    options = parser.parse_args(arguments)
    if options.against is not None:
        if not (options.against / "cnnx" / "__init__.py").is_file():
            parser.error(f"--against {options.against}: expected a folder with cnnx/__init__.py in it")
        options.against = options.against.resolve()
    return options


def _list(allowed: Sequence[str]):
    def convert(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        unknown = [name for name in names if name not in allowed]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: expected some of {', '.join(allowed)}")
        return names

    return convert


def _natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number}: expected 0 or more")
    return number


def command(options: argparse.Namespace) -> str:
    """What to type for these measurements again."""
    words = ["python -m benchmarks"]
    if options.only != suites.USUAL:
        words.append(f"--only {','.join(options.only)}")
    if options.networks:
        words.append(f"--networks {','.join(options.networks)}")
    if options.without:
        words.append(f"--without '{','.join(options.without)}'")
    if options.against:
        words.append(f"--against {options.against}")
    if "random" in options.only:
        words.append(f"--seed {options.seed}")
        words += [f"--first {options.first}"] if options.first else []
        words.append(f"--count {options.count}")
        words += ["--tensorflow"] if options.tensorflow else []
    if options.threads != 2:
        words.append(f"--threads {options.threads}")
    if options.quick:
        words.append("--quick")
    return " ".join(words)


if __name__ == "__main__":
    sys.exit(main())
