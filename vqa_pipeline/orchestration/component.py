"""The pipeline as a Dagster component: `type: vqa_pipeline.VqaPipeline` in a defs.yaml declares a whole pipeline.

The attributes' schema is `PipelineSettings` itself, so each setting is declared once; `project` reads them, so that the
file means to Dagster what it means to the commands, and mistakes are told with file, line and what is allowed.
"""

from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import GetJsonSchemaHandler, RootModel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from vqa_pipeline.declarations import COMPONENT, build_pipeline, find_declaration
from vqa_pipeline.errors import SettingsError
from vqa_pipeline.orchestration.assets import build_definitions
from vqa_pipeline.pipeline import Pipeline, PipelineSettings
from vqa_pipeline.scaffold import render_declaration


class PipelineScaffolder(dg.Scaffolder):
    """Writes a filled, commented defs.yaml that works as it is."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        """Write the file; asked to append, `target_path` is a file that gets one more document.

        Raises:
            SettingsError: another format than YAML is wanted.
        """
        if request.scaffold_format != "yaml":
            raise SettingsError("--format", "a pipeline is declared in YAML", "Leave `--format` out.")
        path = request.target_path
        if request.append:
            number = path.read_text(encoding="utf-8").count(f"type: {COMPONENT}") + 1
            with path.open("a", encoding="utf-8") as file:
                file.write("---\n" + render_declaration(f"{path.parent.name}_{number}"))
        else:
            (path / "defs.yaml").write_text(render_declaration(path.name), encoding="utf-8")


class Attributes(RootModel[dict[str, Any]]):
    """What stands under `attributes`, with the schema of `PipelineSettings`; `VqaPipeline.load` judges it."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The settings' schema, which editors, `dg check yaml` and Dagster's component page read."""
        return handler(PipelineSettings.__pydantic_core_schema__)


@dg.scaffold_with(PipelineScaffolder)
class VqaPipeline(dg.Component):
    """A whole VQA pipeline: sources, dataset, answer vocabulary, fine-tuned ViLT, predictions and metrics.

    Each source becomes `<name>/raw/<source>` and `<name>/records/<source>`; they meet in `<name>/dataset`, from which
    `vocabulary`, `checkpoint`, `predictions` and `metrics` follow.
    """

    def __init__(self, pipeline: Pipeline, declared_in: Path | None = None) -> None:
        self.pipeline, self.declared_in = pipeline, declared_in

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What Dagster's component page shows."""
        return dg.ComponentTypeSpec(description=cls.__doc__, tags=["vqa", "vilt", "training"])

    @classmethod
    def get_model_cls(cls) -> type[Attributes]:
        """The attributes' model."""
        return Attributes

    @classmethod
    def load(cls, attributes: Any, context: dg.ComponentLoadContext) -> "VqaPipeline":
        """Read the settings; the file that Dagster took them from tells their lines.

        Raises:
            SettingsError: a setting is unknown, missing or wrong.
        """
        positions = context.resolution_context.source_position_tree
        file = Path(positions.position.filename) if positions else Path(context.path) / "defs.yaml"
        number = context.component_path.instance_key
        declaration = find_declaration(file, number if isinstance(number, int) else 0)
        return cls(build_pipeline(attributes.root if attributes else {}, declaration, context.project_root), file)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002 - Dagster's signature
        """Every definition of the pipeline."""
        return build_definitions(self.pipeline, declared_in=self.declared_in)
