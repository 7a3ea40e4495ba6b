"""The plan: every row's fate, the same bytes however its tasks are run, and splits that never move."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import multiprocessing
import os
import random
import shutil
import signal
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from curation_world import (
    Curated,
    Row,
    curate,
    draw_png,
    draw_scene,
    encode_lines,
    make_table_source,
    make_vqa_source,
    prepare,
    read_tree,
    run_plan,
    write_defects,
    write_files,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from world import build_world

from vqa_pipeline.curation.buckets import ROWS_PER_BUCKET
from vqa_pipeline.curation.exchange import choose_num_spans
from vqa_pipeline.curation.image_plan import IMAGE_FACTS
from vqa_pipeline.curation.known_images import write_known_images
from vqa_pipeline.curation.source_records import SourceRecords
from vqa_pipeline.curation.tasks import TaskProcesses
from vqa_pipeline.errors import SourceChanged
from vqa_pipeline.schemas import NEAR_DUPLICATES, QUESTIONS, REJECTS


def make_row(number: int, picture: int = 1, **fields: Any) -> Row:
    told = {"id": f"q{number}", "image": f"{picture}.png", "question": f"is it {number}?", "answers": ["yes"]}
    return {**told, "split": "train", "type": "is", **fields}


def write_table(root: Path, rows: Iterable[Row], pictures: Iterable[int] = range(10), name: str = "clinic") -> None:
    write_files(root, {f"{name}.jsonl": encode_lines(rows)})
    write_files(root / "images", {f"{number}.png": draw_png(number) for number in pictures})


@pytest.fixture(scope="module")
def defects(tmp_path_factory) -> list[SourceRecords]:
    """The records of two sources full of defects. The plan is told that they are many, so that it has many tasks."""
    root = tmp_path_factory.mktemp("defects")
    write_defects(root, 0, 240)
    sources = [make_table_source(), make_vqa_source()]
    records = [prepare(source, root, root / "records" / source.name)[0] for source in sources]
    return [dataclasses.replace(one, num_question_records=ROWS_PER_BUCKET) for one in records]


# --------------------------------------------------------------------------------------------------------------- fates


def test_the_worlds_rows_become_what_its_table_says_row_for_row(tmp_path):
    world = build_world(tmp_path / "raw")
    curated = curate([world.source], world.root, tmp_path)
    accepted = dict.fromkeys(range(world.num_rows), ("accepted", ""))
    expected = {("shapes", "questions.jsonl", record): [fate] for record, fate in (accepted | world.fates).items()}
    assert curated.fates == expected
    assert curated.summary.repairs_by_kind == {"backslash": 1}
    (mended,) = [row for row in curated.questions if row["repairs"]]
    assert mended["locator"]["record"] == 4 * world.num_images
    assert curated.summary.ledger.find_imbalances() == []
    assert curated.summary.count() == {
        "num_rows": 123,
        "num_questions": 97,
        "num_images": 25,
        "num_questions_train": curated.summary.num_questions_by_split["train"],
        "num_questions_val": curated.summary.num_questions_by_split["val"],
        "num_questions_test": curated.summary.num_questions_by_split["test"],
        "num_duplicate": 2,
        "num_rejected": 24,
        "num_excluded": 0,
        "num_questions_without_image": 0,
        "num_near_duplicates": 1,  # the picture with one byte more at its end
        "num_pairs_not_compared": 0,
        "num_leaking_images": 0,
        "num_leaking_groups": 0,
    }


def test_a_question_s_rule_is_told_before_the_annotation_that_it_leaves_alone(tmp_path):
    asked = {"question_id": 1, "image_id": 0, "question": " "}
    told = {"question_id": 1, "image_id": 0, "answers": [{"answer": "red", "answer_id": 1}]}
    write_files(
        tmp_path,
        {
            "vqa-questions.json": json.dumps({"questions": [asked]}).encode(),
            "vqa-annotations.json": json.dumps({"annotations": [told]}).encode(),
            "images/0.png": draw_png(0),
        },
    )
    summary = curate([make_vqa_source()], tmp_path, tmp_path / "out").summary
    assert summary.ledger.count_rules("rejected") == {"annotation_orphan": 1, "question_empty": 1}
    assert "(such as: the question is empty)" in summary.tell_rejects()


def test_rejects_of_all_rooms_lie_together_with_place_payload_reason_and_fix(tmp_path):
    world = build_world(tmp_path / "raw")
    lines = (tmp_path / "raw" / "questions.jsonl").read_bytes().splitlines()
    for row in curate([world.source], world.root, tmp_path).rejects:
        assert row["raw"] == lines[row["locator"]["record"]]
        assert row["locator"]["line"] == row["locator"]["record"] + 1
        assert row["reason"]
        assert row["fix"].endswith(".")


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["fail", "drop_from_train", "report"]), st.booleans())
def test_whatever_is_broken_every_raw_row_has_one_fate_and_the_ledger_balances(seed, leakage, images_required):
    with TemporaryDirectory() as folder:
        root = Path(folder)
        write_defects(root, seed, 200)
        sources = [make_table_source(), make_vqa_source()]
        told = {"leakage": leakage, "images_required": images_required}
        curated = curate(sources, root, root / "work", **told)
        fates = curated.fates
        lines = (root / "clinic.jsonl").read_bytes().splitlines()
        counts = {
            kind: len(json.loads((root / f"vqa-{kind}.json").read_bytes())[kind])
            for kind in ("questions", "annotations")
        }
    assert {len(found) for found in fates.values()} == {1}
    found = Counter((source, file) for source, file, _ in fates)
    joined = curated.summary.ledger.sources["vqa"].num_joined_annotations
    assert found["clinic", "clinic.jsonl"] == len(lines)
    assert found["vqa", "vqa-questions.json"] == counts["questions"]
    assert found["vqa", "vqa-annotations.json"] == counts["annotations"] - joined
    assert curated.summary.ledger.find_imbalances() == []
    assert curated.summary.ledger.num_rows == len(fates)


def test_a_lost_row_unbalances_the_ledger(defects, tmp_path):
    ledger = run_plan(defects, tmp_path).summary.ledger
    told = [problem.split(":")[0] for problem in ledger.find_imbalances()]
    assert told == ["source clinic", "source vqa"]
    assert "lost)" in ledger.find_imbalances()[0]


ELSEWHERE: list[Callable[[str], str]] = [
    lambda name: f"C:\\Users\\Ann\\vqa\\images\\{name.replace('/', chr(92))}",
    lambda name: f"file:///home/ann/images/{name.replace(' ', '%20').replace('é', '%C3%A9')}",
    lambda name: f"/mnt/nas/vqa/{name.upper()}",
    lambda name: f"./images//{name}",
    lambda name: unicodedata.normalize("NFD", name.removesuffix(".png")),
    lambda name: name.replace(".png", ".jpg").replace("000000000", ""),
]


@pytest.mark.parametrize("write_elsewhere", ELSEWHERE)
def test_a_source_written_on_another_machine_becomes_the_same_dataset(tmp_path, write_elsewhere):
    names = ["1.png", "a b/café.png", "val2014/COCO_val2014_000000000042.png", "x/y/z.png"]
    write_files(tmp_path / "images", {name: draw_png(number) for number, name in enumerate(names)})
    versions = set()
    for place, rewrite in (("here", str), ("elsewhere", write_elsewhere)):
        rows = [make_row(number, image=rewrite(name)) for number, name in enumerate(names)]
        write_files(tmp_path, {"clinic.jsonl": encode_lines(rows)})
        curated = curate([make_table_source()], tmp_path, tmp_path / place)
        found = {row["question_id"]: row["image"] for row in curated.questions}
        assert found == {f"clinic/q{number}": name for number, name in enumerate(names)}
        assert all(bool(row["repairs"]) == (row["image"] != rewrite(row["image"])) for row in curated.questions)
        versions.add(curated.summary.data_version)
    assert len(versions) == 1


# -------------------------------------------------------------------------------------------------------------- output


def test_the_dataset_is_files_of_the_documented_schemas(tmp_path):
    write_table(tmp_path, [make_row(1), make_row(2, 2, split="test"), make_row(3, 3, split="dev"), make_row(1), {}])
    curated = curate([make_table_source()], tmp_path, tmp_path / "work")
    assert sorted(read_tree(curated.output)) == [
        "images.parquet",
        "ledger.json",
        "near_duplicates.parquet",
        "packs/pack-00000.parquet",
        "questions/test-00000.parquet",
        "questions/train-00000.parquet",
        "questions/val-00000.parquet",
        "rejects/rejects-00000.parquet",
        "rejects/rejects-00001.parquet",
    ]
    schemas = {"questions": QUESTIONS, "rejects": REJECTS}
    for folder, schema in schemas.items():
        for path in (curated.output / folder).iterdir():
            assert pq.read_schema(path).equals(schema), path
    assert pq.read_schema(curated.output / "images.parquet").equals(IMAGE_FACTS)
    ledger = json.loads((curated.output / "ledger.json").read_text())
    assert ledger == curated.summary.ledger.model_dump(mode="json")
    assert ledger["sources"]["clinic"]["fates"] == {
        "accepted": {"": 3},
        "duplicate": {"duplicate_row": 1},
        "rejected": {"record_malformed": 1},
    }
    assert not (tmp_path / "work" / "scratch").exists()


def test_only_images_of_accepted_questions_are_listed_and_packed_each_once_in_order(tmp_path):
    write_table(tmp_path, [make_row(1, 1), make_row(2, 2), make_row(3, 1), make_row(4, 3, question=" ")])
    write_files(tmp_path / "images", {"copy.png": draw_png(2)})
    write_table(tmp_path, [make_row(9, image="copy.png"), make_row(8, 4, question=" ")], [], name="lab")
    curated = curate([make_table_source(), make_table_source("lab")], tmp_path, tmp_path / "work")
    shas = sorted(hashlib.sha256(draw_png(number)).hexdigest() for number in (1, 2))
    assert pq.read_table(curated.output / "images.parquet")["image_sha256"].to_pylist() == shas
    (pack,) = curated.summary.new_packs
    assert pq.read_table(pack)["image_sha256"].to_pylist() == shas
    assert curated.summary.num_images == 2


def test_questions_and_annotations_of_two_files_are_joined_and_counted(tmp_path):
    asked = [{"question_id": number, "image_id": 1, "question": f"is it {number}?"} for number in range(4)]
    told = [{"question_id": number, "answers": [{"answer": "no"}], "answer_type": "yes/no"} for number in (0, 1, 7)]
    write_files(tmp_path, {"vqa-questions.json": json.dumps({"questions": asked}).encode()})
    write_files(tmp_path, {"vqa-annotations.json": json.dumps({"annotations": told}).encode()})
    write_files(tmp_path / "images", {"1.png": draw_png(1)})
    curated = curate([make_vqa_source(splits="val")], tmp_path, tmp_path / "work")
    assert [(row["question_id"], row["most_common_answer"], row["answer_type"]) for row in curated.questions] == [
        ("vqa/0", "no", "yes/no"),
        ("vqa/1", "no", "yes/no"),
    ]
    account = curated.summary.ledger.sources["vqa"]
    assert (account.num_question_records, account.num_annotation_records, account.num_joined_annotations) == (4, 3, 2)
    assert account.fates == {"accepted": {"": 2}, "rejected": {"annotation_missing": 2, "annotation_orphan": 1}}
    assert curated.summary.num_annotated_by_split == {"train": 0, "val": 2, "test": 0}


def test_missing_splits_are_carved_from_train_and_told(tmp_path):
    write_table(tmp_path, [make_row(number, number % 60) for number in range(120)], range(60))
    curated = curate([make_table_source()], tmp_path, tmp_path / "work")
    assert curated.summary.carved == ("val", "test")
    assert all(count > 0 for count in curated.summary.num_questions_by_split.values())
    assert curated.summary.num_leaking_images == 0
    assert curated.summary.describe()["carved"] == ["val", "test"]


def test_questions_without_image_are_kept_where_none_is_required(tmp_path):
    write_table(tmp_path, [make_row(1, 77, split="val"), make_row(2, 1), make_row(3, image="cut.png")])
    write_files(tmp_path / "images", {"cut.png": draw_png(1)[:45]})
    source = make_table_source()
    strict = curate([source], tmp_path, tmp_path / "strict")
    assert sorted(strict.splits) == ["clinic/q2"]
    kept = curate([source], tmp_path, tmp_path / "kept", images_required=False)
    assert sorted(kept.splits) == ["clinic/q1", "clinic/q2"]
    assert {row["question_id"]: row["image_sha256"] is None for row in kept.questions} == {
        "clinic/q1": True,
        "clinic/q2": False,
    }
    assert kept.summary.num_questions_without_image == 1
    assert [row["rule"] for row in kept.rejects] == ["image_truncated"]


def test_without_an_image_root_the_reference_is_the_image(tmp_path):
    rows = [
        make_row(1, 1, split="train"),
        make_row(2, 1, split="test"),
        make_row(3, 2),
        make_row(4, 2, question="is it 3"),
    ]
    write_files(tmp_path, {"clinic.jsonl": encode_lines(rows)})
    curated = curate([make_table_source(image_root=None)], tmp_path, tmp_path / "work", images_required=False)
    assert [(leak.image, leak.question_ids) for leak in curated.summary.leaks] == [
        ("1.png", ("clinic/q1", "clinic/q2"))
    ]
    assert [row["rule"] for row in curated.rejects] == ["duplicate_question"]
    assert curated.summary.new_packs == ()


@pytest.mark.parametrize(("policy", "kept", "excluded"), [("fail", 4, 0), ("report", 4, 0), ("drop_from_train", 3, 1)])
def test_a_copy_of_an_image_in_another_split_leaks_and_the_policy_says_what_follows(tmp_path, policy, kept, excluded):
    rows = [make_row(1, 1), make_row(2, image="copy.png", split="test"), make_row(3, 2), make_row(4, 3, split="val")]
    write_table(tmp_path, rows)
    write_files(tmp_path / "images", {"copy.png": draw_png(1)})
    curated = curate([make_table_source()], tmp_path, tmp_path / "work", leakage=policy)
    counts = curated.summary.count()
    assert (counts["num_questions"], counts["num_excluded"], counts["num_leaking_images"]) == (kept, excluded, 1)
    sha = hashlib.sha256(draw_png(1)).hexdigest()
    assert curated.summary.leaks[0].describe() == f"image {sha[:12]}… in train and test: clinic/q1, clinic/q2"


NEAR_COPIES = {
    "another encoding": ("JPEG", (160, 120), {"quality": 50}),
    "a smaller size": ("PNG", (80, 60), {}),
    "both": ("WEBP", (320, 240), {"quality": 60}),
}


@pytest.mark.parametrize("how", NEAR_COPIES)
@pytest.mark.parametrize(("policy", "kept", "excluded"), [("fail", 3, 0), ("report", 3, 0), ("drop_from_train", 2, 1)])
def test_a_near_copy_in_another_split_leaks_and_is_stored_with_its_distance(tmp_path, how, policy, kept, excluded):
    container, size, options = NEAR_COPIES[how]
    images = {"a.png": draw_scene(1), "b.img": draw_scene(1, container, size, **options), "c.png": draw_scene(2)}
    rows = [make_row(1, image="a.png"), make_row(2, image="b.img", split="test"), make_row(3, image="c.png")]
    write_table(tmp_path, rows)
    write_files(tmp_path / "images", images)
    curated = curate([make_table_source()], tmp_path, tmp_path / "work", leakage=policy)
    counts = curated.summary.count()
    assert (counts["num_questions"], counts["num_excluded"]) == (kept, excluded)
    assert (counts["num_near_duplicates"], counts["num_leaking_images"], counts["num_leaking_groups"]) == (1, 0, 1)
    table = pq.read_table(curated.output / "near_duplicates.parquet")
    assert table.schema.equals(NEAR_DUPLICATES)
    shas = sorted(hashlib.sha256(images[name]).hexdigest() for name in ("a.png", "b.img"))
    (pair,) = table.to_pylist()
    assert [pair["image_sha256"], pair["other_sha256"]] == shas
    (leak,) = curated.summary.leaks
    assert [leak.image, leak.near, leak.distance] == [*shas, pair["distance"]]
    assert leak.question_ids == ("clinic/q1", "clinic/q2")


def test_where_near_duplicates_are_not_looked_for_only_identical_files_leak(tmp_path):
    rows = [
        make_row(1, image="a.png"),
        make_row(2, image="b.png", split="test"),
        make_row(3, image="c.png", split="val"),
    ]
    write_table(tmp_path, rows)
    images = {"a.png": draw_scene(1), "b.png": draw_scene(1), "c.png": draw_scene(1, size=(80, 60))}
    write_files(tmp_path / "images", images)
    summary = curate([make_table_source()], tmp_path, tmp_path / "work", near_duplicate_distance=None).summary
    assert (summary.num_near_duplicates, summary.num_leaking_images, summary.num_leaking_groups) == (0, 1, 0)
    assert summary.leaks[0].splits == ("train", "test")


def test_pictures_that_differ_in_a_shape_s_colour_or_place_are_no_near_duplicates(tmp_path):
    """As in data that are drawn: plain ground, one shape; their hashes of brightness are often equal."""
    colours = ["red", "green", "blue", "teal", "brown", "black", "gray", "orange"]
    places = [(10, 10), (12, 10), (34, 22)]
    rows = []
    for number, (colour, place, kind) in enumerate(product(colours, places, ["ellipse", "rectangle"])):
        picture, file = Image.new("RGB", (64, 64), (240, 238, 235)), io.BytesIO()
        getattr(ImageDraw.Draw(picture), kind)((*place, place[0] + 20, place[1] + 20), fill=colour)
        picture.save(file, "PNG")
        write_files(tmp_path / "images", {f"{number}.png": file.getvalue()})
        rows.append(make_row(number, number, split=("train", "test")[number % 2]))
    write_files(tmp_path, {"clinic.jsonl": encode_lines(rows)})
    summary = curate([make_table_source()], tmp_path, tmp_path / "work").summary
    assert (summary.num_images, summary.num_near_duplicates, summary.leaks) == (48, 0, ())


def test_of_many_leaks_the_first_hundred_are_listed_by_image(tmp_path):
    rows = [make_row(2 * n + (split == "test"), n, split=split) for n in range(105) for split in ("train", "test")]
    write_files(tmp_path, {"clinic.jsonl": encode_lines(rows)})
    summary = curate([make_table_source(image_root=None)], tmp_path, tmp_path / "work", images_required=False).summary
    assert summary.num_leaking_images == 105
    assert [leak.image for leak in summary.leaks] == sorted(f"{number}.png" for number in range(105))[:100]


def test_no_records_give_an_empty_dataset(tmp_path):
    write_files(tmp_path, {"clinic.jsonl": b"[]"})
    (tmp_path / "images").mkdir()
    curated = curate([make_table_source()], tmp_path, tmp_path / "work")
    assert sorted(read_tree(curated.output)) == ["images.parquet", "ledger.json", "near_duplicates.parquet"]
    assert curated.summary.ledger.num_rows == 0


# ------------------------------------------------------------------------------------------------------ the same bytes


def run_shuffled(seed: int) -> Callable[..., list[Any]]:
    """`map_tasks` in any order; results in the items' order, as promised."""
    rng = random.Random(seed)

    def map_tasks(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        numbered = list(enumerate(items))
        rng.shuffle(numbered)
        results = {number: function(item) for number, item in numbered}
        return [results[number] for number in sorted(results)]

    return map_tasks


NUM_TASKS = 9
"""Two sources' images, two kinds of records, two buckets of question ids, their exchange, two buckets of images."""


class Killed(Exception):
    pass


class DyingMap:
    """`map_tasks` that ends the plan at its k-th task, in the middle of it: what it wrote last is torn."""

    def __init__(self, folder: Path, last: int) -> None:
        self.folder, self.last, self.num_tasks = folder, last, 0

    def __call__(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return [self.run(function, item) for item in items]

    def run(self, function: Callable[[Any], Any], item: Any) -> Any:
        before = set(read_tree(self.folder))
        result = function(item)
        if self.num_tasks == self.last:
            for name in set(read_tree(self.folder)) - before:
                torn = self.folder / name
                torn.write_bytes(torn.read_bytes()[:100])
            raise Killed
        self.num_tasks += 1
        return result


@pytest.fixture(scope="module")
def plain(defects, tmp_path_factory) -> Curated:
    """The plan's output, run in a plain loop."""
    return run_plan(defects, tmp_path_factory.mktemp("plain"))


def test_the_plan_has_several_tasks_of_each_kind_here(defects, plain):
    """Else the tests below would say little."""
    names = [path.name for path in sorted((plain.output / "questions").iterdir())]
    assert names == [f"{split}-0000{bucket}.parquet" for split in ("test", "train", "val") for bucket in (0, 1)]
    assert len(defects) == 2


def test_running_twice_gives_the_same_bytes(defects, plain, tmp_path):
    again = run_plan(defects, tmp_path)
    assert read_tree(again.output) == read_tree(plain.output)
    assert again.summary.data_version == plain.summary.data_version
    assert again.summary.describe() == plain.summary.describe()


@pytest.mark.parametrize("seed", [1, 2])
def test_tasks_in_any_order_give_the_same_bytes(defects, plain, tmp_path, seed):
    assert read_tree(run_plan(defects, tmp_path, map_tasks=run_shuffled(seed)).output) == read_tree(plain.output)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 5])
def test_any_number_of_processes_gives_the_same_bytes_as_one(defects, tmp_path, workers):
    larger = [dataclasses.replace(one, num_question_records=2 * ROWS_PER_BUCKET) for one in defects]
    with TaskProcesses(workers) as map_tasks:
        many = run_plan(larger, tmp_path / "many", map_tasks=map_tasks)
        # one for each of the four tasks at most, and the tracker of shared resources
        assert len(psutil.Process().children()) > min(workers, 4)
    with TaskProcesses(1) as map_tasks:
        one = run_plan(larger, tmp_path / "one", map_tasks=map_tasks)
    assert read_tree(many.output) == read_tree(one.output)
    assert many.summary.describe() == one.summary.describe()


def test_killed_at_any_task_and_run_again_the_plan_gives_the_same_bytes(defects, plain, tmp_path):
    counting = DyingMap(tmp_path / "none", 10**9)
    run_plan(defects, tmp_path / "counted", map_tasks=counting)
    assert counting.num_tasks == NUM_TASKS
    for last in range(counting.num_tasks):
        folder = tmp_path / f"killed-{last}"
        with pytest.raises(Killed):
            run_plan(defects, folder, map_tasks=DyingMap(folder, last))
        (folder / "output").rename(folder / "abandoned")
        assert read_tree(run_plan(defects, folder).output) == read_tree(plain.output)


def test_what_a_killed_plan_over_other_data_left_is_not_taken_for_its_own(defects, plain, tmp_path):
    larger = [dataclasses.replace(one, num_question_records=2 * ROWS_PER_BUCKET) for one in defects]
    with pytest.raises(Killed):
        run_plan(larger, tmp_path, map_tasks=DyingMap(tmp_path, 8))
    left = {path.name for path in (tmp_path / "scratch" / "merged").iterdir()}
    assert left == {f"0000{bucket}.parquet" for bucket in range(4)}
    (tmp_path / "output").rename(tmp_path / "abandoned")
    assert read_tree(run_plan(defects, tmp_path).output) == read_tree(plain.output)


def run_and_die(sources: list[SourceRecords], folder: Path, last: int) -> None:
    num_tasks = 0

    def map_tasks(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return [run(function, item) for item in items]

    def run(function: Callable[[Any], Any], item: Any) -> Any:
        nonlocal num_tasks
        if num_tasks == last:
            os.kill(os.getpid(), signal.SIGKILL)
        num_tasks += 1
        return function(item)

    run_plan(sources, folder, map_tasks=map_tasks)


def run_in_its_own_process(sources: list[SourceRecords], folder: Path, workers: int) -> None:
    with TaskProcesses(workers) as map_tasks:
        (folder / "started").touch()
        run_plan(sources, folder, map_tasks=map_tasks, known_images=folder / "known.arrow")


def kill_at_random(sources: list[SourceRecords], folder: Path, workers: int, seconds: float) -> bool:
    """Run the plan, kill it after so many seconds; whether it was still at work."""
    folder.mkdir(exist_ok=True)
    (folder / "started").unlink(missing_ok=True)
    shutil.rmtree(folder / "output", ignore_errors=True)  # a candidate's folder: the next run has another
    process = multiprocessing.get_context("spawn").Process(
        target=run_in_its_own_process, args=(sources, folder, workers)
    )
    process.start()
    while not (folder / "started").exists():
        assert process.is_alive()
        time.sleep(0.001)
    family = psutil.Process(process.pid).children(recursive=True)
    process.join(seconds)
    family = [*family, *psutil.Process(process.pid).children(recursive=True)] if process.is_alive() else []
    process.kill()
    process.join()
    assert psutil.wait_procs(family, timeout=60)[1] == [], "nothing is left of a plan that was killed"
    return process.exitcode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "num_kills"), [(1, 50), (2, 10)])
def test_killed_again_and_again_at_any_moment_the_plan_gives_the_same_bytes(defects, tmp_path, workers, num_kills):
    """Each run finds what the one before left; after every tenth kill one is let through and compared."""
    larger = [dataclasses.replace(one, num_question_records=2 * ROWS_PER_BUCKET) for one in defects]
    expected = read_tree(run_plan(larger, tmp_path / "expected").output)
    begin = time.monotonic()
    assert not kill_at_random(larger, tmp_path / "timed", workers, 600)
    whole = time.monotonic() - begin
    chance, killed = random.Random(workers), 0
    while killed < num_kills:
        killed += kill_at_random(larger, tmp_path / "killed", workers, chance.uniform(0, whole))
        if killed % 10 == 0:
            assert not kill_at_random(larger, tmp_path / "killed", workers, 600)
            assert read_tree(tmp_path / "killed" / "output") == expected


@pytest.mark.slow
@pytest.mark.parametrize("last", range(NUM_TASKS))
def test_after_a_real_kill_the_plan_gives_the_same_bytes(defects, plain, tmp_path, last):
    process = multiprocessing.get_context("spawn").Process(target=run_and_die, args=(defects, tmp_path, last))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (tmp_path / "output").rename(tmp_path / "abandoned")
    assert read_tree(run_plan(defects, tmp_path).output) == read_tree(plain.output)


@pytest.mark.parametrize(("num_rows_told", "num_buckets"), [(1, 1), (32 * ROWS_PER_BUCKET, 64)])
def test_the_number_of_tasks_changes_nothing_that_matters(defects, plain, tmp_path, num_rows_told, num_buckets):
    counting = DyingMap(tmp_path / "none", 10**9)
    told = [dataclasses.replace(one, num_question_records=num_rows_told) for one in defects]
    other = run_plan(told, tmp_path, map_tasks=counting)
    assert counting.num_tasks == 2 + 2 * num_buckets + 3 * choose_num_spans(num_buckets)
    assert other.summary.data_version == plain.summary.data_version
    assert other.fates == plain.fates
    assert other.summary.leaks == plain.summary.leaks
    assert other.summary.images_looked_for == plain.summary.images_looked_for


def test_the_order_of_sources_changes_nothing_that_matters(defects, plain, tmp_path):
    turned = run_plan(defects[::-1], tmp_path)
    assert turned.summary.data_version == plain.summary.data_version
    assert turned.fates == plain.fates


@pytest.mark.slow
def test_many_records_are_shared_between_tasks(tmp_path):
    """As many real rows as need two buckets; each question is asked of each of 3,000 images several times."""
    num_rows = ROWS_PER_BUCKET + 5_000
    rows = [make_row(number, number % 3000, question="what?", split=None) for number in range(num_rows)]
    write_files(tmp_path, {"clinic.jsonl": encode_lines(rows)})
    curated = curate([make_table_source(image_root=None)], tmp_path, tmp_path / "work", images_required=False)
    files = sorted(path.name for path in (curated.output / "questions").iterdir())
    assert files == [f"{split}-0000{bucket}.parquet" for split in ("test", "train", "val") for bucket in (0, 1)]
    assert curated.summary.ledger.find_imbalances() == []
    assert curated.summary.count()["num_questions"] == 3000
    assert curated.summary.count()["num_duplicate"] == num_rows - 3000
    smallest = {row["image"]: row["question_id"] for row in curated.questions}
    assert smallest["7.png"] == min(f"clinic/q{number}" for number in range(7, num_rows, 3000))


def test_a_source_without_image_root_is_not_looked_through_for_references(tmp_path):
    write_table(tmp_path, [make_row(number, number) for number in range(3)])
    source = make_table_source(image_root=None)
    curated = curate([source], tmp_path, tmp_path / "with", images_required=False)
    assert curated.summary.images_looked_for == {"clinic": {}}
    assert sorted(row["image"] for row in curated.questions) == ["0.png", "1.png", "2.png"]
    refused = curate([source], tmp_path, tmp_path / "without", images_required=True)
    assert [row["rule"] for row in refused.rejects] == ["image_missing"] * 3
    assert "no image root to look for 1.png in" in refused.rejects[1]["reason"]


# -------------------------------------------------------------------------------------------------------------- packs


def test_images_of_known_packs_are_not_packed_again(tmp_path):
    write_table(tmp_path, [make_row(number, number) for number in range(3)])
    source = make_table_source()
    first = curate([source], tmp_path, tmp_path / "first")
    same = curate([source], tmp_path, tmp_path / "same", known_packs=first.summary.new_packs)
    assert same.summary.new_packs == ()
    assert same.summary.data_version == first.summary.data_version
    write_table(tmp_path, [make_row(number, number) for number in range(5)])
    grown = curate([source], tmp_path, tmp_path / "grown", known_packs=first.summary.new_packs)
    (pack,) = grown.summary.new_packs
    assert set(pq.read_table(pack)["image_sha256"].to_pylist()) == {
        hashlib.sha256(draw_png(number)).hexdigest() for number in (3, 4)
    }
    assert grown.summary.num_images == 5
    assert pq.read_table(grown.output / "images.parquet").num_rows == 5


def test_what_was_done_to_images_is_told_with_each_and_counted(tmp_path):
    write_table(tmp_path, [make_row(number, number) for number in range(4)])
    frames = [Image.new("RGBA", (4, 3), (number, 0, 0, 90)) for number in (1, 2)]
    frames[0].save(tmp_path / "images" / "0.png", "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    frames[1].save(tmp_path / "images" / "1.png", "PNG")
    curated = curate([make_table_source()], tmp_path, tmp_path / "work")
    assert curated.summary.alterations_by_kind == {"first_frame": 1, "transparency_on_white": 2}
    assert curated.summary.describe()["alterations_by_kind"] == {"first_frame": 1, "transparency_on_white": 2}
    (pack,) = curated.summary.new_packs
    for table in (pq.read_table(curated.output / "images.parquet"), pq.read_table(pack)):
        told = sorted(table["alterations"].to_pylist())
        assert told == [[], [], ["first_frame", "transparency_on_white"], ["transparency_on_white"]]


def test_it_is_told_how_far_the_work_is(tmp_path):
    write_table(tmp_path, [make_row(number, number) for number in range(3)])
    told = []
    curate([make_table_source()], tmp_path, tmp_path / "work", progress=lambda *words: told.append(words))
    assert told == [
        *[("checking images", done, 3, "images") for done in (0, 3)],
        *[("sorting records", done, 2, "parts") for done in (0, 1, 2)],
        *[("joining questions", done, 1, "buckets") for done in (0, 1)],
        *[("sorting questions", done, 1, "parts") for done in (0, 1)],
        *[("writing questions", done, 1, "buckets") for done in (0, 1)],
        *[("packing images", done, 3, "images") for done in (0, 1, 2, 3)],
    ]


def test_images_are_told_as_they_are_checked_not_when_all_are(tmp_path):
    """A task that looks at what has been told by the time it runs."""
    pictures = range(1100)
    write_files(tmp_path, {"clinic.jsonl": encode_lines([make_row(number, number) for number in pictures])})
    write_files(tmp_path / "images", {f"{number}.png": draw_png(number % 7) for number in pictures})
    told, seen = [], []

    def map_tasks(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterable[Any]:
        for item in items:
            seen.append([done for _, done, _, _ in told])
            yield function(item)

    progress = lambda *words: told.append(words)  # noqa: E731
    curate([make_table_source()], tmp_path, tmp_path / "work", map_tasks=map_tasks, progress=progress)
    assert seen == [[0], [0, 512], [0, 512, 1024], *seen[3:]]


@pytest.mark.parametrize("change", ["changed", "gone", "linked out"])
def test_an_image_that_changes_between_its_check_and_its_packing_stops_the_plan(tmp_path, change):
    write_table(tmp_path, [make_row(1), make_row(2, 2)])
    image = tmp_path / "images" / "1.png"

    def map_tasks(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        results = [function(item) for item in items]
        image.unlink(missing_ok=True)
        if change == "changed":
            image.write_bytes(draw_png(9))
        elif change == "linked out":
            image.symlink_to(tmp_path / "clinic.jsonl")
        return results

    with pytest.raises(SourceChanged, match=r"source 'clinic'.*1\.png: changed while it was being read"):
        curate([make_table_source()], tmp_path, tmp_path / "work", map_tasks=map_tasks)


# ------------------------------------------------------------------------------------------------------- known images


def test_only_images_whose_bytes_are_new_are_decoded(tmp_path):
    """What an image is said to be tells whether it was looked at: the facts that are remembered were made false."""
    known = tmp_path / "known.arrow"
    write_table(tmp_path, [make_row(number, number) for number in range(4)])
    write_files(tmp_path / "images", {"3.png": b"broken"})
    curate([make_table_source()], tmp_path, tmp_path / "first", known_images=known)
    with pa.memory_map(str(known)) as file:
        facts = pa.ipc.open_file(file).read_all()
    assert facts.num_rows == 3, "what could not be used is not remembered"
    write_known_images(facts.set_column(1, facts.schema.field("width"), pa.array([777] * 3, pa.int32())), known)
    pictures = {"0.png": draw_png(0), "1.png": draw_png(100), "2-renamed.png": draw_png(2), "3.png": draw_png(3)}
    write_files(tmp_path / "images", pictures)
    write_table(tmp_path, [*(make_row(number, number) for number in (0, 1, 3, 4)), make_row(2, image="2-renamed.png")])
    write_files(tmp_path / "images", pictures)
    curated = curate([make_table_source()], tmp_path, tmp_path / "second", known_images=known)
    shas = {row["image"]: row["image_sha256"] for row in curated.questions}
    images = pq.read_table(curated.output / "images.parquet")
    widths = dict(zip(images["image_sha256"].to_pylist(), images["width"].to_pylist(), strict=True))
    assert {image: widths[sha] for image, sha in shas.items()} == {
        "0.png": 777,
        "1.png": 4,
        "2-renamed.png": 777,
        "3.png": 4,
        "4.png": 4,
    }


def test_with_what_is_known_and_without_it_the_bytes_are_the_same(defects, plain, tmp_path):
    known = tmp_path / "known.arrow"
    for folder in ("first", "second"):
        assert read_tree(run_plan(defects, tmp_path / folder, known_images=known).output) == read_tree(plain.output)


# --------------------------------------------------------------------------------------------------------- data version

ROWS = st.lists(
    st.builds(
        make_row,
        st.integers(0, 12),
        st.integers(0, 6),
        split=st.sampled_from([None, "train", "val"]),
        answers=st.sampled_from([["yes"], ["no"], None]),
        question=st.sampled_from(["is it?", "Is it", "what?"]),
    ),
    min_size=1,
    max_size=12,
)


def curate_rows(*files: list[Row], **told: Any) -> tuple[str, dict[str, str]]:
    """Data version and splits of a dataset of such rows, in some files, without images."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        write_files(root, {f"clinic-{number}.jsonl": encode_lines(rows) for number, rows in enumerate(files) if rows})
        source = make_table_source(image_root=None)
        curated = curate([source], root, root / "work", **{"images_required": False, "leakage": "report", **told})
        return curated.summary.data_version, curated.splits


@settings(max_examples=6, deadline=None)
@given(ROWS, st.data())
def test_shuffled_rows_in_other_files_give_the_same_data_version(rows, data):
    shuffled = data.draw(st.permutations(rows))
    cut = data.draw(st.integers(0, len(rows)))
    assert curate_rows(shuffled[:cut], shuffled[cut:]) == curate_rows(rows)


@pytest.mark.parametrize(
    "change",
    [
        {"question": "is it another?"},
        {"answers": ["no"]},
        {"answers": ["yes", "yes"]},
        {"split": "val"},
        {"image": "2.png"},
        {"type": "what"},
        {"of": "another"},
        {"id": "other"},
        {"question": " "},
    ],
)
def test_the_data_version_changes_with_whatever_is_accepted(change):
    row = make_row(1)
    assert curate_rows([make_row(0), {**row, **change}])[0] != curate_rows([make_row(0), row])[0]


def test_the_data_version_does_not_change_with_what_is_not_accepted():
    rows = [make_row(0), make_row(1)]
    assert curate_rows([*rows, make_row(2, question=" "), make_row(1)])[0] == curate_rows(rows)[0]


def test_the_data_version_changes_with_an_images_bytes(tmp_path):
    write_table(tmp_path, [make_row(1)])
    first = curate([make_table_source()], tmp_path, tmp_path / "first").summary.data_version
    write_files(tmp_path / "images", {"1.png": draw_png(1) + b"\0"})
    assert curate([make_table_source()], tmp_path, tmp_path / "second").summary.data_version != first


def test_with_renamed_images_no_split_changes(tmp_path):
    rows = [make_row(number, number, split=None) for number in range(30)]
    write_table(tmp_path, rows, range(30))
    first = curate([make_table_source()], tmp_path, tmp_path / "first")
    for number in range(30):
        (tmp_path / "images" / f"{number}.png").rename(tmp_path / "images" / f"renamed-{number}.png")
    write_table(tmp_path, [{**row, "image": f"renamed-{row['image']}"} for row in rows], [])
    assert curate([make_table_source()], tmp_path, tmp_path / "second").splits == first.splits
    assert len(set(first.splits.values())) == 3


# ----------------------------------------------------------------------------------------------------- splits stay put


@settings(max_examples=6, deadline=None)
@given(ROWS, ROWS, st.randoms(), st.booleans())
def test_when_data_grow_no_question_changes_its_split(before, new, shuffler, declared):
    """Rows of all splits are there from the first: what is carved is given back when its split comes to be declared."""
    word = {"train": "train", "val": "dev", "test": "test"}
    base = [make_row(100 + n, 100 + n, split=word[split] if declared else None) for n, split in enumerate(word)]
    known = {row["id"] for row in before}
    fresh = [row for row in new if row["id"] not in known]
    grown = [*base, *before, *fresh]
    shuffler.shuffle(grown)
    _, first = curate_rows([*base, *before])
    _, after = curate_rows(grown)
    assert {name: after[name] for name in first if name in after} == {
        name: first[name] for name in first if name in after
    }
    gone = first.keys() - after.keys()
    assert {f"clinic/{row['id']}" for row in base}.isdisjoint(gone)


@settings(max_examples=5, deadline=None)
@given(st.lists(ROWS, min_size=2, max_size=4), st.randoms())
def test_however_often_data_grow_and_in_whatever_order_no_question_changes_its_split(batches, shuffler):
    """Rows arrive in batches, a batch's before or behind what was there, in files of any order."""
    base = [make_row(100 + n, 100 + n, split=split) for n, split in enumerate(("train", "val", "test"))]
    known: dict[str, Row] = {}
    seen: dict[str, str] = {}
    for batch in batches:
        for row in batch:
            known.setdefault(row["id"], row)
        rows = [*base, *known.values()]
        shuffler.shuffle(rows)
        cut = shuffler.randint(0, len(rows))
        _, splits = curate_rows(rows[:cut], rows[cut:])
        assert {name: split for name, split in splits.items() if name in seen} == {
            name: split for name, split in seen.items() if name in splits
        }
        seen |= splits


def test_near_duplicates_that_come_later_move_no_split(tmp_path):
    """A group named by its smallest digest would move, when a smaller one comes: 24 copies bring smaller ones."""
    scenes = {f"{n}.png": draw_scene(n) for n in range(12)}
    copies = {f"{n}-{q}.jpg": draw_scene(n, "JPEG", quality=q) for n in range(12) for q in (80, 90)}
    splits = []
    for images in (scenes, scenes | copies):
        rows = [make_row(n, image=name, id=name, split=None) for n, name in enumerate(images)]
        write_table(tmp_path, rows, [])
        write_files(tmp_path / "images", images)
        curated = curate([make_table_source()], tmp_path, tmp_path / f"{len(images)}", leakage="report")
        splits.append(curated.splits)
        groups = pq.read_table(curated.output / "near_duplicates.parquet").num_rows
    assert groups == 12 * 3
    assert len(splits[1]) == 36
    assert {name: splits[1][name] for name in splits[0]} == splits[0]


@settings(max_examples=6, deadline=None)
@given(st.sets(st.integers(0, 200), min_size=1, max_size=20), st.sets(st.integers(0, 200), max_size=20))
def test_a_split_that_is_carved_stays_as_it_was_carved_when_training_images_are_added(before, new):
    _, first = curate_rows([make_row(number, number) for number in sorted(before)])
    _, after = curate_rows([make_row(number, number) for number in sorted(before | new)])
    assert {name: after[name] for name in first} == first
