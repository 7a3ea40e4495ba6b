"""`vqa_pipeline.load`: a model to ask, by the name `champion` or by its folder. Loads torch only when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vqa_pipeline.deployment import CHAMPION, Deployment
from vqa_pipeline.errors import MissingPackage, SettingsError
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.project import choose_pipeline, find_project, load_pipelines
from vqa_pipeline.store import Store

if TYPE_CHECKING:
    from vqa_pipeline.modeling.answering import Answerer


def load(
    name: str | Path = CHAMPION,
    *,
    pipeline: str | None = None,
    project: str | Path = ".",
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> Answerer:
    """A checkpoint ready to answer: `load("champion").answer("photo.jpg", "What colour is the car?")`.

    Args:
        name: `champion`, or the folder of a published or deployed checkpoint, such as `…/champion/current`.
        pipeline: Whose champion, where the project has several pipelines.
        project: A folder in the project; it is found by walking up from there.
        device: Where it computes.

    Raises:
        NoChampion: there is none yet.
        ChampionDamaged: its folder lacks something.
        BackboneError: the folder is not a checkpoint.
        SettingsError: there is no such folder, project or pipeline.
        MissingPackage: what computes is not installed.
    """
    folder = Path(name)
    if name == CHAMPION:
        chosen = choose_pipeline(load_pipelines(find_project(Path(project))), pipeline)
        folder = find_champion(chosen)
    return open_answerer(folder, device)


def find_champion(pipeline: Pipeline) -> Path:
    """The folder of a pipeline's champion.

    Raises:
        NoChampion: there is none yet.
        ChampionDamaged: its folder lacks something.
    """
    store = Store(pipeline.store_folder, pipeline.scratch_folder)
    return Deployment(store).require_champion().folder


def open_answerer(folder: Path, device: Literal["auto", "cpu", "cuda"] = "auto") -> Answerer:
    """A checkpoint ready to answer.

    Raises:
        SettingsError: there is no such folder.
        BackboneError: the folder is not a checkpoint.
        MissingPackage: what computes is not installed.
    """
    if not folder.is_dir():
        raise SettingsError(str(folder), "it is no folder", f"Name `{CHAMPION}`, or the folder of a checkpoint.")
    try:
        from vqa_pipeline.modeling.answering import Answerer
    except ImportError as error:
        raise MissingPackage("answer", (error.name or "").partition(".")[0], str(error)) from error
    return Answerer(folder, device)
