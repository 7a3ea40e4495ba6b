"""The pipeline as a Dagster component: `type: vqa_pipeline.VqaPipeline` in a defs.yaml declares a whole pipeline.

The attributes are `PipelineSettings` itself, so each setting is declared once and mistakes are told with file and line.
"""

import textwrap
from pathlib import Path
from typing import Any

import dagster as dg

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
          images: 300
          broken_rows: false
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
        """Write the file; `--append` is Dagster's, for several documents in one file."""
        text = TEMPLATE.format(type=request.type_name, name=request.target_path.name)
        if getattr(request, "append", False):
            with request.target_path.open("a", encoding="utf-8") as file:
                file.write("---\n" + text)
        else:
            (request.target_path / "defs.yaml").write_text(text, encoding="utf-8")


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
    def get_model_cls(cls) -> type[PipelineSettings]:
        """The attributes' model."""
        return PipelineSettings

    @classmethod
    def load(cls, attributes: Any, context: dg.ComponentLoadContext) -> "VqaPipeline":
        """Render templates and validate again: Dagster has validated what is written, this is what it means."""
        scope = context.resolution_context.at_path("attributes")
        written = attributes.model_dump(mode="json", exclude_unset=True) if attributes else {}
        settings = PipelineSettings.model_validate(scope.resolve_value(written))
        folder = Path(context.path)
        name = settings.name or (folder.parent if folder.suffix else folder).name
        return cls(Pipeline(name, settings, context.project_root))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002 - Dagster's signature
        """Every definition of the pipeline."""
        return build_definitions(self.pipeline)
