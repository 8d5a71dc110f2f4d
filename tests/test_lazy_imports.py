"""What `import kbig` and the command line may load."""

import subprocess
import sys

import pytest

HEAVY = ("tensorflow", "keras", "keras_hub", "sklearn", "matplotlib", "numpy")


@pytest.mark.parametrize(
    "code",
    [
        "import kbig",
        "import recipes.cli; recipes.cli.main(['--help'])",
        "import recipes.cli; recipes.cli.main(['list'])",
    ],
)
def test_nothing_heavy_is_loaded(code):
    check = f"import sys; print(set(sys.modules) & set({HEAVY}))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{check}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "set()"


def test_an_unknown_attribute_is_named():
    import kbig

    with pytest.raises(AttributeError, match="modles"):
        kbig.modles  # noqa: B018
