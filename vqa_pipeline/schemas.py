"""What flows between stages: raw records, records, rejects, examples, images, predictions, manifests.

Pydantic models and TypedDicts validate single things; the Arrow schemas beside them are the tables where stages meet.
Nothing here reads a file, a clock or a random number.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict

import pyarrow as pa
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

Fate = Literal["accepted", "duplicate", "rejected", "excluded"]
FATES: tuple[Fate, ...] = ("accepted", "duplicate", "rejected", "excluded")

RecordKind = Literal["question", "annotation"]

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", description="Lower-case letters, digits and underscores.")]


class Locator(NamedTuple):
    """Where a raw record lies; valid for the raw version that the manifest beside it names."""

    file: str
    """Path of the file relative to the source's root, `/` between parts; of a member, `train.zip!/a.json`."""
    record: int
    """Number of the record in its file, from 0."""
    item: int | None = None
    """Number of the question inside the record, from 0, where one record holds several."""
    byte_offset: int | None = None
    """Offset of the record's first byte in the uncompressed file, in its UTF-8 form if it has another; where known."""
    line: int | None = None
    """Line of the record in its file, from 1, where the format has lines."""

    def __str__(self) -> str:
        place = f":{self.line}" if self.line is not None else f"[{self.record}]"
        return f"{self.file}{place}" + (f".{self.item}" if self.item is not None else "")


class EmbeddedImage(NamedTuple):
    """An image that lies inside a source's file, not beside it."""

    sha256: str
    """Of its bytes; the image reference of its questions, and what stands for the bytes in the payload."""
    data: bytes
    """The image file's own bytes."""
    path: str | None = None
    """What the source's file calls it, where it does."""


class RawRecord(NamedTuple):
    """A record as a source's file holds it, before validation."""

    kind: RecordKind
    payload: bytes
    """The record itself: a slice of the file where that is JSON, else its fields as a JSON object (UTF-8)."""
    locator: Locator
    image: EmbeddedImage | None = None
    """The record's image where the file holds it; no part of the payload."""


class Answer(TypedDict):
    """One annotator's answer to a question."""

    answer: str
    answer_id: int | None
    answer_confidence: str | None


class Repair(TypedDict):
    """A mend made to a field of a record, kept beside it; docs/images.md lists the kinds."""

    kind: str
    before: str
    after: str


class QuestionFields(TypedDict):
    """What a format says of one question, before the checks that all formats share."""

    native_id: int | str | None
    """The record's own id; None: made from image reference and question."""
    image: str
    """Image reference as the source gives it, relative to the source's image root."""
    question: str
    split: str | None
    """The declared split in the source's own words, or None."""
    question_type: str | None
    answer_type: str | None
    answers: list[Answer] | None
    """None: this source keeps answers in records of their own (kind `annotation`), or the question has none."""
    paraphrase_of: NotRequired[str | None]
    """What questions that ask the same in other words share: the native id of one of them, or a name of their own."""


class AnnotationFields(TypedDict):
    """What a format says of one annotation: answers to a question that another record asks."""

    native_id: int | str
    question_type: str | None
    answer_type: str | None
    answers: list[Answer]


class Reject(NamedTuple):
    """A raw record that did not become a record, or an example, and why."""

    rule: str
    """Short, stable name of the broken rule, such as `image_missing`."""
    reason: str
    """One sentence that names the culprit."""
    fix: str
    """What a person can do about it."""
    raw: RawRecord
    question_id: str | None = None
    fate: Fate = "rejected"
    image: str | None = None
    """Its image reference as the source gives it; None: not known."""


# ---------------------------------------------------------------------------------------------------- Arrow tables

ANSWERS = pa.list_(pa.struct([("answer", pa.string()), ("answer_id", pa.int64()), ("answer_confidence", pa.string())]))
REPAIRS = pa.list_(pa.struct([("kind", pa.string()), ("before", pa.string()), ("after", pa.string())]))
LOCATOR = pa.struct(
    [
        ("file", pa.string()),
        ("record", pa.int64()),
        ("item", pa.int64()),
        ("byte_offset", pa.int64()),
        ("line", pa.int64()),
    ]
)


def column(name: str, kind: pa.DataType, means: str, *, nullable: bool = True) -> pa.Field:
    """A column that says what it means; the text travels with Parquet files and is shown in Dagster's UI."""
    return pa.field(name, kind, nullable, metadata={"description": means})


_QUESTION_ID = column("question_id", pa.string(), "<source>/<native id>, unique in a dataset", nullable=False)
_NATIVE_ID = column("native_id", pa.string(), 'The source\'s own id as JSON: 7 and "7" stay apart; null: it has none')
_QUESTION = column("question", pa.string(), "The question, as it was asked", nullable=False)
_QUESTION_TYPE = column("question_type", pa.string(), "The source's word for the kind of question")
_ANSWER_TYPE = column("answer_type", pa.string(), "The source's word for the kind of answer")
_PARAPHRASE_OF = column(
    "paraphrase_of",
    pa.string(),
    "What questions that ask the same in other words share: the native id of one of them, or a name of their own",
)
_ANSWERS = column("answers", ANSWERS, "One entry per annotator, in the source's order; null: not annotated")
_REPAIRS = column("repairs", REPAIRS, "Mends made to the record", nullable=False)
_LOCATOR = column("locator", LOCATOR, "Where the raw record lies", nullable=False)
_RAW = column("raw", pa.binary(), "The record itself, as it was read", nullable=False)

QUESTION_RECORDS = pa.schema(
    [
        _QUESTION_ID,
        _NATIVE_ID,
        column("image", pa.string(), "Image reference, tidied, before its file was looked for", nullable=False),
        _QUESTION,
        column("split", pa.string(), "train, val or test; null: not declared"),
        _QUESTION_TYPE,
        _ANSWER_TYPE,
        _PARAPHRASE_OF,
        _ANSWERS,
        _REPAIRS,
        _LOCATOR,
        _RAW,
    ]
)
"""`records/<source>`, files `questions-*.parquet`: one row per valid question record."""

ANNOTATION_RECORDS = pa.schema(
    [_QUESTION_ID, _QUESTION_TYPE, _ANSWER_TYPE, _ANSWERS.with_nullable(False), _LOCATOR, _RAW]
)
"""`records/<source>`, files `annotations-*.parquet`: answers kept apart from their questions."""

REJECTS = pa.schema(
    [
        column("source", pa.string(), "Name of the source", nullable=False),
        column("kind", pa.string(), "question or annotation", nullable=False),
        _QUESTION_ID.with_nullable(True),
        column("fate", pa.string(), "duplicate, rejected or excluded", nullable=False),
        column("rule", pa.string(), "Short, stable name of the rule that settled it", nullable=False),
        column("reason", pa.string(), "One sentence that names the culprit", nullable=False),
        column("fix", pa.string(), "What a person can do about it", nullable=False),
        column("image", pa.string(), "Image file or reference, relative to the source's image root; null: not known"),
        _LOCATOR,
        _RAW,
    ]
)
"""Every raw row that is not accepted: `rejects/` of the dataset; `rejects-*.parquet` of `records/<source>`."""

QUESTIONS = pa.schema(
    [
        _QUESTION_ID,
        _NATIVE_ID,
        column("source", pa.string(), "Name of the source", nullable=False),
        column("split", pa.string(), "train, val or test", nullable=False),
        column("image", pa.string(), "Image file, relative to the source's image root", nullable=False),
        column("image_sha256", pa.string(), "Of the image file's bytes; null: no image (images_required: false)"),
        _QUESTION,
        _QUESTION_TYPE,
        _ANSWER_TYPE,
        _PARAPHRASE_OF,
        _ANSWERS,
        column("most_common_answer", pa.string(), "Mode of the answers after normalization, ties alphabetical"),
        _REPAIRS,
        _LOCATOR,
    ]
)
"""`dataset`, files `questions/<split>-*.parquet`: one row per accepted question (an example), ordered by `question_id`
inside a file."""

ALTERATIONS = pa.list_(pa.field("element", pa.string()))  # the name of a list's values in Parquet
IMAGES = pa.schema(
    [
        column("image_sha256", pa.string(), "Of the file's bytes", nullable=False),
        # nullable although it never is null: `datasets` compares with its own type, and would show bytes, not images
        column("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]), "The original file's bytes"),
        column("width", pa.int32(), "Pixels, orientation applied", nullable=False),
        column("height", pa.int32(), "Pixels, orientation applied", nullable=False),
        column("mode", pa.string(), "Pillow's mode before conversion to RGB", nullable=False),
        column("format", pa.string(), "Pillow's name of the container: PNG, JPEG, …", nullable=False),
        column("dhash", pa.int64(), "64-bit difference hash of the pixels, two's complement", nullable=False),
        column("alterations", ALTERATIONS, "What it takes to show the file as RGB, in words", nullable=False),
    ],
    metadata={
        "huggingface": json.dumps(
            {
                "info": {
                    "features": {
                        "image_sha256": {"dtype": "string", "_type": "Value"},
                        "image": {"_type": "Image"},
                        "width": {"dtype": "int32", "_type": "Value"},
                        "height": {"dtype": "int32", "_type": "Value"},
                        "mode": {"dtype": "string", "_type": "Value"},
                        "format": {"dtype": "string", "_type": "Value"},
                        "dhash": {"dtype": "int64", "_type": "Value"},
                        "alterations": {"feature": {"dtype": "string", "_type": "Value"}, "_type": "Sequence"},
                    }
                }
            }
        )
    },
)
"""Image packs, `shared/*.parquet` of `dataset`: original files' bytes, one row per image, ordered by `image_sha256`."""

NEAR_DUPLICATES = pa.schema(
    [
        column("image_sha256", pa.string(), "One image; its sha256 is the smaller one", nullable=False),
        column("other_sha256", pa.string(), "The other", nullable=False),
        column("distance", pa.uint8(), "Bits in which their difference hashes differ", nullable=False),
    ]
)
"""`dataset`, file `near_duplicates.parquet`: every pair of near-duplicate images among the good images that questions
name, accepted or not; ordered by both columns."""

PREDICTIONS = pa.schema(
    [
        _QUESTION_ID,
        column("split", pa.string(), "train, val or test", nullable=False),
        column(
            "variant", pa.string(), "model: as it is; shuffled_image: shown another question's image", nullable=False
        ),
        column("checkpoint", pa.string(), "Data version of the checkpoint that answered", nullable=False),
        column("answer", pa.string(), "The best answer of the vocabulary", nullable=False),
        column("score", pa.float32(), "Sigmoid of the answer's logit, in [0, 1]", nullable=False),
        column("probability", pa.float32(), "Calibrated probability that it is right, in [0, 1]", nullable=False),
        column(
            "top_answers",
            pa.list_(pa.struct([("answer", pa.string()), ("score", pa.float32()), ("probability", pa.float32())])),
            "At most five, the best first",
            nullable=False,
        ),
    ]
)
"""`predictions`, file `predictions.parquet`: ordered by variant, checkpoint and `question_id`; the champion's are among
them."""


EVALUATED_VARIANT = "model"
"""Variant of predictions: the model as it is."""

SHUFFLED_IMAGE = "shuffled_image"
"""Variant of predictions: the model was shown the image of another question."""

SCORES = pa.schema(
    [
        _QUESTION_ID,
        column("image", pa.string(), "What tells its image from others: its sha256, or its reference", nullable=False),
        column(
            "variant",
            pa.string(),
            "model, shuffled_image (the model on another question's image), or a guess without image: majority, "
            "question_type, question_only",
            nullable=False,
        ),
        column("checkpoint", pa.string(), "Data version of the checkpoint that answered; null: a guess"),
        column("answer", pa.string(), "What it answered; null: nothing, which scores 0"),
        column("score", pa.float64(), "Credit in [0, 1] under the metric policy", nullable=False),
        column("exact", pa.bool_(), "Whether it is, normalized, the annotators' most common answer", nullable=False),
    ]
)
"""`metrics`, file `scores.parquet`: everybody who answered the annotated among the evaluated questions."""

SLICES = pa.schema(
    [
        _QUESTION_ID,
        *(
            column(name, pa.string(), means)
            for name, means in {
                "answer_type": "As the data says, else yes/no, number or other by the most common answer",
                "question_type": "As the data says, else the first two words",
                "answer_frequency": "How many training questions have its most common answer",
                "vocabulary": "Whether an answer that people gave is one that the model could give",
                "source": "Name of the source",
                "image_size": "The shorter side of its image",
                "num_references": "How many people answered it",
            }.items()
        ),
    ]
)
"""`metrics`, file `slices.parquet`: to which group of questions each scored question belongs; null: to none."""


# ------------------------------------------------------------------------------------------------------- manifests


class Frozen(BaseModel):
    """A value: no unknown fields, no changes after it was made."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Input(Frozen):
    """A version that a stage read."""

    version: str = Field(description="The version's id: the digest of its bytes.")
    data_version: str = Field(description="What matters of it downstream; equal data versions are interchangeable.")


class Check(Frozen):
    """The outcome of one check of a candidate."""

    name: str
    passed: bool
    blocking: bool = Field(description="A failed blocking check keeps the candidate from being published.")
    message: str = Field(description="What was found and, when it failed, what to do.")
    numbers: dict[str, float | int | None] = Field(default_factory=dict)


STORE_FORMAT = 1
"""Raised by hand when this package cannot read what older ones wrote, or they cannot read what it writes."""


class Manifest(Frozen):
    """The account of one published version; written last, so that a version without it does not exist."""

    format: int = Field(STORE_FORMAT, description="Form of the store; absent: the first.")
    asset: str = Field(description="Key of the asset below its pipeline, such as `records/shapes`.")
    version: str = Field(description="Digest of everything inside the version but this manifest.")
    data_version: str = Field(description="Covers what matters downstream; Dagster's data version.")
    stage_number: int = Field(description="Raised by hand when the stage's results change.")
    settings: dict[str, Any] = Field(description="The settings that the stage used.")
    inputs: dict[str, Input] = Field(description="The versions that the stage read, by asset.")
    numbers: dict[str, float | int | None] = Field(description="Counts and headline figures.")
    details: dict[str, Any] = Field(
        default_factory=dict, description="What else this asset tells; its stage says what."
    )
    checks: tuple[Check, ...] = ()
    files: dict[str, int] = Field(description="Size in bytes of every file inside, by path relative to the version.")
    seconds: float = Field(description="How long the stage took.")
    created_at: AwareDatetime
    packages: dict[str, str] = Field(description="Versions of the packages that results depend on.")
    git_commit: str | None = Field(description="Commit of the project, `+` appended when the tree was changed.")
