"""How far reading is: in bytes of the files, from the places of the records read."""

from __future__ import annotations

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
from curation_world import Row, encode_lines, make_table_source, write_files
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.curation.reading_progress import ReadingProgress
from vqa_pipeline.curation.records import validate_source
from vqa_pipeline.schemas import Locator


def make_rows(begin: int, end: int) -> list[Row]:
    return [
        {"id": f"q{number}", "image": "1.png", "question": "is it?", "answers": ["yes"], "split": "train", "type": "is"}
        for number in range(begin, end)
    ]


def follow_reading(tmp_path, files: dict[str, bytes], locators: list[Locator]) -> list[tuple[str, int, int, str]]:
    write_files(tmp_path, files)
    told = []
    source = make_table_source(files=tuple(files), image_root=None)
    reading = ReadingProgress(source, tmp_path, lambda *words: told.append(words))
    for locator in locators:
        reading.reach(locator)
    reading.end()
    return told


def test_a_place_is_told_by_the_bytes_before_it(tmp_path):
    files = {"a.jsonl": b"x" * 1000, "b.jsonl": b"x" * 500}
    locators = [Locator("a.jsonl", 0, None, 0), Locator("a.jsonl", 1, None, 400), Locator("b.jsonl", 0, None, 100)]
    assert follow_reading(tmp_path, files, locators) == [
        ("reading clinic", done, 1500, "bytes") for done in (0, 400, 1100, 1500)
    ]


def test_in_a_compressed_file_a_place_is_scaled(tmp_path):
    packed = gzip.compress(bytes(100_000))
    half = Locator("a.jsonl", 1, None, 50_000)
    told = follow_reading(tmp_path, {"a.jsonl": packed}, [half])
    assert told == [("reading clinic", done, len(packed), "bytes") for done in (len(packed) // 2, len(packed))]


def test_where_places_are_not_known_a_file_counts_when_the_next_begins(tmp_path):
    files = {"a.jsonl": b"x" * 1000, "b.jsonl": b"x" * 500}
    told = follow_reading(tmp_path, files, [Locator("a.jsonl", 7), Locator("b.jsonl", 0), Locator("elsewhere", 0)])
    assert [done for _, done, _, _ in told] == [0, 1000, 1499, 1500]


def test_in_parquet_a_place_is_told_by_the_rows_before_it(tmp_path):
    pq.write_table(pa.table({"id": list(range(10))}), tmp_path / "clinic.parquet")
    size = (tmp_path / "clinic.parquet").stat().st_size
    told = []
    source = make_table_source(files="clinic.parquet", image_root=None)
    reading = ReadingProgress(source, tmp_path, lambda *words: told.append(words))
    for row in (0, 5):
        reading.reach(Locator("clinic.parquet", row))
    assert [done for _, done, _, _ in told] == [0, size // 2]


def test_in_a_table_of_cells_places_are_known(tmp_path):
    lines = [
        "id,image,question,answers,split,type,of",
        *(f"q{number},1.png,is it?,yes,train,is," for number in range(1500)),
    ]
    data = "\n".join(lines).encode()
    write_files(tmp_path, {"clinic.csv": data})
    (tmp_path / "records").mkdir()
    told = []
    source = make_table_source(files="clinic.csv", image_root=None)
    validate_source(source, tmp_path, tmp_path / "records", progress=lambda *words: told.append(words))
    places = [len("\n".join(lines[: number + 1])) + 1 for number in (0, 1000)]
    assert [done for _, done, _, _ in told] == [*places, len(data)]


def test_reading_a_source_is_told_to_its_end(tmp_path):
    lines = encode_lines(make_rows(0, 2500))
    write_files(tmp_path, {"clinic.jsonl": lines})
    (tmp_path / "records").mkdir()
    told = []
    source = make_table_source(image_root=None)
    validate_source(source, tmp_path, tmp_path / "records", progress=lambda *words: told.append(words))
    places = [len(encode_lines(make_rows(0, number))) for number in (0, 1000, 2000)]
    assert told == [("reading clinic", done, len(lines), "bytes") for done in (*places, len(lines))]


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c", "?"]), st.none() | st.integers(0, 2**40)), max_size=9))
def test_progress_stays_between_nothing_and_everything(tmp_path_factory, places):
    folder = tmp_path_factory.mktemp("reading")
    files = {"a": b"", "b": gzip.compress(bytes(1000)), "c": b"x" * 50}
    told = follow_reading(folder, files, [Locator(file, 0, None, offset) for file, offset in places])
    total = sum(map(len, files.values()))
    assert all(0 <= done < total for _, done, _, _ in told[:-1])
    assert told[-1][1:3] == (total, total)
