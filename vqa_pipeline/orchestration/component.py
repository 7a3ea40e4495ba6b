"""The pipeline as a Dagster component: `type: vqa_pipeline.VqaPipeline` in a defs.yaml declares a whole pipeline.

The attributes' schema is `PipelineSettings` itself, so each setting is declared once; `project` reads them, so that the
file means to Dagster what it means to the commands, and mistakes are told with file, line and what is allowed.
"""

import re
import textwrap
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

TEMPLATE = textwrap.dedent("""\
    # A VQA pipeline: where its questions come from, how it trains, how it is scored.
    # `dg check defs` checks this file, `dg list defs` shows its assets, `vqa-pipeline run --pipeline {name}` runs it.
    # Every section but `sources` may be left out; the values shown are the defaults unless a comment says otherwise.
    type: {type}
    attributes:
      name: {name}                         # prefixes asset keys, group and store path
      store: "{{{{ env('VQA_STORE', 'data/store') }}}}"   # published versions
      scratch: data/scratch                # caches and unfinished work: deleting it costs time, never results
      sources:
        - name: shapes
          format: shapes                   # a generated world, to try the pipeline without a download
          images: 300                      # default: 1500
          broken_rows: false               # default: true, one row or image of every kind that is rejected
        # - name: mine
        #   format: table                  # JSON, JSON Lines, CSV, TSV or Parquet
        #   files: raw/mine/*.csv          # relative to the project
        #   image_root: raw/mine/images
        #   columns: {{question: question, image: image, answers: answers, id: null}}
        #   splits: by_image               # or train, val, test, or {{column: split}}
        # - name: vqa
        #   format: vqa_v2                 # the official two-file form
        #   questions: raw/vqa/*_questions.json
        #   annotations: raw/vqa/*_annotations.json
        #   image_root: raw/vqa/images
      dataset:
        split_fractions: {{train: 0.8, val: 0.1, test: 0.1}}
        max_reject_fraction: 0.01          # more rejected rows than this share and nothing is published
        leakage: fail                      # an image in two splits: fail, drop_from_train or report
        images_required: true
      vocabulary:
        min_count: 1                       # answers given to fewer training questions are left out
        max_answers: 3129
      training:
        backbone: tiny                     # default: dandelin/vilt-b32-mlm; tiny trains from scratch on a CPU
        strategy: full                     # full or head
        epochs: 10
        batch_size: 64
        learning_rate: 0.001               # default: 0.0001, right for a pretrained backbone
      evaluation:
        metric: auto                       # auto, official or normalized
        splits: [test]
      retrain: manual                      # or {{cron: "0 2 * * *", timezone: Europe/Berlin}}
    """)


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
                file.write("---\n" + render_template(f"{path.parent.name}_{number}"))
        else:
            (path / "defs.yaml").write_text(render_template(path.name), encoding="utf-8")


def render_template(folder: str) -> str:
    """The text of a defs.yaml in a folder of that name, which becomes the pipeline's as far as its characters allow."""
    name = re.sub(r"[^a-z0-9_]+", "_", folder.lower())
    return TEMPLATE.format(type=COMPONENT, name=name if name[:1].isalpha() else f"vqa_{name.strip('_')}".rstrip("_"))


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

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

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
        return cls(build_pipeline(attributes.root if attributes else {}, declaration, context.project_root))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002 - Dagster's signature
        """Every definition of the pipeline."""
        return build_definitions(self.pipeline)
