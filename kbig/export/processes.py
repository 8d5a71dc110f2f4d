"""What every process that kbig starts is given: no GPU, and a time limit."""

import os

# Seconds for one conversion or one answer; what hangs must not hang the run.
TIME_LIMIT = 600.0


def cpu_environment() -> dict[str, str]:
    """Returns this process's environment with every GPU hidden.

    The parent may hold all of the GPU's memory, and on Ampere and later
    TensorFlow multiplies in TF32, which differs from float32 by 1e-3.

    Returns:
        Variables by name, for `subprocess`.

    Example:
    ```python
    subprocess.run(["env"], env=cpu_environment())
    ```
    """
    return {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
