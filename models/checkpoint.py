"""Checkpoints of the training loop: one safetensors file each, written whole or not at all, no pickle.

A file holds the weights, the optimiser's moments and, as text, the step and the hash of everything the run depends on. Sampling, dropout and learning
rate are functions of (seed, step), so the step is all the position there is. Each file carries a digest of its content: a torn or flipped byte is seen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from desk.disk import write_whole
from desk.log import event

# the newest may be torn by a dying disk: the one before it is kept
KEPT = 2


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything that training at `step` depends on: named weights and optimiser tensors, and the hash of the run's inputs."""

    step: int
    inputs_hash: str
    weights: Mapping[str, Tensor]
    optimiser: Mapping[str, Tensor]


def of(step: int, inputs_hash: str, network: torch.nn.Module, optimiser: torch.optim.Optimizer) -> Checkpoint:
    """Take the state of a training run after `step` steps."""
    moments = {f"{index}.{name}": value for index, state in optimiser.state_dict()["state"].items() for name, value in state.items()}
    return Checkpoint(step, inputs_hash, network.state_dict(), moments)


def restore(checkpoint: Checkpoint, network: torch.nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Put a checkpoint back into a freshly built network and optimiser."""
    network.load_state_dict(dict(checkpoint.weights))
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in checkpoint.optimiser.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def write(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint atomically (temporary file, fsync, rename, fsync of the folder) and drop all but the newest two."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"weights.{name}": value.contiguous() for name, value in checkpoint.weights.items()}
    tensors |= {f"optimiser.{name}": value.contiguous() for name, value in checkpoint.optimiser.items()}
    about = {"step": checkpoint.step, "inputs_hash": checkpoint.inputs_hash, "digest": digest_of(tensors)}
    path = folder / f"step-{checkpoint.step:08d}.safetensors"
    write_whole(path, safetensors.torch.save(tensors, metadata={"about": json.dumps(about)}))
    for old in stored(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def newest(folder: Path, inputs_hash: str) -> Checkpoint | None:
    """The newest checkpoint of this very run that reads back whole; broken ones are reported and passed over. None: start afresh."""
    return next((checkpoint for checkpoint in _readable(folder) if checkpoint.inputs_hash == inputs_hash), None)


def stored(folder: Path) -> list[Path]:
    """Checkpoint files in a folder, newest first."""
    return sorted(folder.glob("step-*.safetensors"), reverse=True)


def _readable(folder: Path) -> Iterator[Checkpoint]:
    for path in stored(folder):
        try:
            yield read(path)
        except (SafetensorError, ValueError, KeyError, OSError) as problem:
            event("checkpoint.broken", level="WARNING", path=str(path), problem=str(problem))


def read(path: Path) -> Checkpoint:
    """Read one checkpoint; ValueError or SafetensorError when the file is not what was written."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        about = json.loads((file.metadata() or {})["about"])
    if digest_of(tensors) != about["digest"]:
        raise ValueError("a checkpoint must hold what its digest says; its content was altered; delete it")
    return Checkpoint(about["step"], about["inputs_hash"], _part(tensors, "weights."), _part(tensors, "optimiser."))


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over names, types, shapes and bytes of tensors, hex."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        digest.update(value.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()
