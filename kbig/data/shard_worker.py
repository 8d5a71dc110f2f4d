"""The process that writes shards for `kbig.data.shard_processes`.

Standard input holds requests: a line of JSON, `path` and the `sizes` of the
documents in bytes, and then the documents. Each answer is a line of JSON.
"""

import json
import os
import pathlib
import sys

from kbig.data.shard_files import ShardMaker
from kbig.data.vocabulary import load_vocabulary


def main(vocabulary: str, lowercase: str, strip_accents: str) -> None:
    """Answers requests until the input ends.

    Args:
        vocabulary: path of the vocabulary.
        lowercase: `"1"` or `"0"`.
        strip_accents: `"1"` or `"0"`.
    """
    # Whatever prints must not spoil the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    maker = ShardMaker(
        load_vocabulary(vocabulary), lowercase == "1", strip_accents == "1"
    )
    requests = sys.stdin.buffer
    for line in iter(requests.readline, b""):
        request = json.loads(line)
        documents = [requests.read(size) for size in request["sizes"]]
        written = maker(pathlib.Path(request["path"]), documents)
        print(json.dumps(written), file=answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
