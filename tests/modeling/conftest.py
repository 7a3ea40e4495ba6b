"""Shared by all tests of modeling: one small world, one checkpoint trained on it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from modeling_world import World, never, train_job, write_world


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def trained(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `checkpoint/` and `progress/` of a finished training. Read only."""
    from vqa_pipeline.modeling.training.train import train

    folder = tmp_path_factory.mktemp("trained")
    train(train_job(world, folder), lambda event: None, never)
    return folder
