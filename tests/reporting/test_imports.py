import subprocess
import sys

SCRIPT = """
import sys
import kbig.reporting
heavy = {"tensorflow", "keras", "matplotlib", "kbig.data", "kbig.models"}
print(sorted(heavy & set(sys.modules)))
from kbig.reporting import plots
print(sorted(heavy & set(sys.modules)))
"""


def test_only_plots_load_matplotlib_and_nothing_needs_tensorflow():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["[]", "['matplotlib']"]
