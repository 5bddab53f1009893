"""Model folders on disk: written whole or not at all, and read only when every file is what the card says.

`model.json` is the card: what the model is, and the sha256 of each file beside it. It is written last, so a folder without it is not a model.
Nothing here needs torch: a trading process reads models without it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from desk.disk import write_whole
from desk.errors import BadFile

CARD = "model.json"


def write_model(folder: Path, card: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    """Write the files of a model, then its card with their digests. A folder that already holds this identity whole is left alone."""
    if holds(folder, str(card["identity"])):
        return
    for name, content in files.items():
        write_whole(folder / name, content)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    write_whole(folder / CARD, json.dumps({**card, "files": digests}, indent=1, sort_keys=True).encode())


def holds(folder: Path, identity: str) -> bool:
    """Whether the folder holds the model of that identity, complete and unaltered."""
    try:
        return bool(read_card(folder)["identity"] == identity)
    except BadFile:
        return False


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a model folder, after checking every file against it; BadFile names the first that is missing or altered."""
    try:
        card: dict[str, Any] = json.loads((folder / CARD).read_bytes())
        files = dict(card["files"])
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise BadFile(f"a model folder must hold a readable {CARD}; found {problem} in {folder}; train the model again") from problem
    for name, digest in files.items():
        path = folder / name
        found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
        if found != digest:
            raise BadFile(f"{path} must have the sha256 {digest} that {CARD} names; found {found}; train the model again or restore the file")
    return card


def folders(root: Path, identities: Collection[str]) -> dict[str, Path]:
    """Where under `root` the models of these identities are, each whole and unaltered; those that are nowhere are absent."""
    found: dict[str, Path] = {}
    for card in sorted(root.rglob(CARD)):
        # The cheap look first: checking a folder reads all of it.
        identity = json.loads(card.read_bytes()).get("identity")
        if identity in identities and identity not in found and holds(card.parent, identity):
            found[identity] = card.parent
    return found
