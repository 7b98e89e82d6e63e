"""`make bench`: Angarium beside stock Celery, side by side in one run.

Each figure is the median of several rounds, and the rounds of all lanes take turns, so that a
machine that is slower for a while is slower for all. The last line is everything as one JSON
object. Anything lost or doubled ends it with exit code 1.
"""

import argparse
import json
import sys

from tests.bench.system import system
from tests.tables import put_table


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds for each figure")
    parser.add_argument("--scale", type=float, default=1.0, help="size of each round")
    parser.add_argument("--profile", action="store_true", help="where the courier's time goes")
    parser.add_argument("--scaling", action="store_true", help="what the rate grows with")
    parser.add_argument("--write", action="store_true", help="put what is shown into docs/")
    parser.add_argument("figures", nargs="*", help="only these figures, or tables")
    options = parser.parse_args()
    with system() as directory:
        from tests.bench.figures import Bench
        from tests.bench.report import figures, layers, ratios, show, show_table
        from tests.bench.scaling import PAGE, Scaling

        bench = Bench(directory, options.rounds, options.scale)
        if options.profile:
            show("profile", layers(bench.profile()), write=options.write)
            return 0
        if options.scaling:
            for name, lines in Scaling(bench).run(options.figures):
                show_table(name, lines)
                if options.write:
                    put_table(PAGE, name, lines)
            return 0
        results = bench.run(options.figures)
        show("figures", figures(results), write=options.write)
        show("ratios", ratios(results), write=options.write)
    sys.stdout.write(json.dumps(results) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
