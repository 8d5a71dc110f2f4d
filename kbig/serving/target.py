"""Which model of which server: what every request says."""

import dataclasses
import re
import urllib.parse

from kbig.errors import UsageError

# Scheme -> the port that TF Serving listens on.
PORTS = {"http": 8501, "https": 443, "grpc": 8500}


@dataclasses.dataclass(frozen=True)
class Target:
    """One model, or one version of it, on a server.

    Args:
        scheme: a key of `PORTS`.
        host: name or address.
        port: of the server.
        path: what stands before `/v1/models` behind a gateway, or "".
        model: its name.
        version: its number, or None.
        label: of the version, or None.
    """

    scheme: str
    host: str
    port: int
    path: str
    model: str
    version: int | None = None
    label: str | None = None

    @property
    def url(self) -> str:
        """The address of the server."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    @property
    def resource(self) -> str:
        """The path of the model in TF Serving's REST."""
        path = f"{self.path}/v1/models/{_quoted(self.model)}"
        if self.version is not None:
            return f"{path}/versions/{self.version}"
        if self.label is not None:
            return f"{path}/labels/{_quoted(self.label)}"
        return path

    def __str__(self) -> str:
        which = f" version {self.version}" if self.version is not None else ""
        which += f" labelled {self.label!r}" if self.label is not None else ""
        return f"model {self.model!r}{which} at {self.url}"


def target_of(
    url: str, model: str, version: int | None = None, label: str | None = None
) -> Target:
    """Reads an address.

    Args:
        url: `http://host:8501`, `https://host/path` or `grpc://host:8500`;
            without a port TF Serving's own.
        model: name of the model.
        version: number of the version, or None for the latest.
        label: of a version, such as "stable"; or None.

    Returns:
        The target.

    Raises:
        UsageError: an address of another form, no name, or both a version
            and a label.

    Example:
    ```python
    target_of("grpc://localhost", "topics", label="stable").port  # 8500
    ```
    """
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urllib.parse.urlsplit(""), None, None
    # A query or a user would be dropped without a word.
    extra = parts.query or parts.fragment or parts.username is not None
    path = parts.path.rstrip("/")
    bad_path = re.search(r"[^!-~]", path) or parts.scheme == "grpc" and path
    if parts.scheme not in PORTS or not host or extra or bad_path:
        raise UsageError(
            "`url` is the address of a server, http://host:8501, "
            f"https://host or grpc://host:8500. Received: url={url!r}"
        )
    if not model or (version is not None and label is not None):
        raise UsageError(
            "A request names a model, and its version or the label of one, "
            f"not both. Received: model={model!r}, version={version}, "
            f"label={label!r}"
        )
    if version is not None and version < 1 or label == "":
        raise UsageError(
            "Versions are numbers from 1, and labels are names. Received: "
            f"version={version}, label={label!r}"
        )
    port = PORTS[parts.scheme] if port is None else port
    return Target(parts.scheme, host, port, path, model, version, label)


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")
