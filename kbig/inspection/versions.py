"""The versions of a served model."""

import pathlib

SAVED_MODEL = "saved_model.pb"


def versions(base: pathlib.Path) -> dict[int, pathlib.Path]:
    """Finds the SavedModels in a folder of versions.

    Args:
        base: the folder; it need not be there.

    Returns:
        Their folders by number, in rising order. As TF Serving has it, 0001
        is 1.

    Example:
    ```python
    versions(pathlib.Path("saved_models/topics"))  # {1: ".../topics/1"}
    ```
    """
    found = {
        int(file.parent.name): file.parent
        for file in base.glob(f"*/{SAVED_MODEL}")
        if file.parent.name.isdecimal()
    }
    return dict(sorted(found.items()))
