"""What came out: counted in files, told in words."""

from __future__ import annotations

from dataclasses import replace

from curation_world import curate, encode_lines, make_table_source, write_files

from vqa_pipeline.curation.summary import count_files


def test_what_is_counted_is_what_the_files_hold_not_what_was_said_of_them(tmp_path):
    rows = [
        {"id": number, "image": f".\\{number}.png", "question": f"is it {number}?", "answers": ["yes"], "split": split}
        for number, split in enumerate(["train", "dev", "test", "nowhere"])
    ]
    write_files(tmp_path, {"clinic.jsonl": encode_lines(rows)})
    curated = curate([make_table_source(image_root=None)], tmp_path, tmp_path / "work", images_required=False)
    found = count_files(curated.output)
    assert found.fates == {("clinic", "accepted", ""): 3, ("clinic", "rejected", "split_unknown"): 1}
    assert found.splits == {"train": 1, "val": 1, "test": 1}
    assert (found.repairs["backslash"], found.num_without_image) == (3, 3)
    assert found.reasons == {"split_unknown": "'nowhere' is no split"}
    (curated.output / "questions" / "test-00000.parquet").unlink()
    assert count_files(curated.output).splits == {"train": 1, "val": 1}


def test_what_leaks_is_told_in_a_few_words(tmp_path):
    write_files(tmp_path, {"clinic.jsonl": b"[]"})
    summary = curate([make_table_source(image_root=None)], tmp_path, tmp_path / "work", images_required=False).summary
    assert replace(summary, num_leaking_images=3).tell_leaks() == "3 images are"
    assert replace(summary, num_leaking_groups=2).tell_leaks() == "2 groups of near-duplicates are"
    both = replace(summary, num_leaking_images=3, num_leaking_groups=2)
    assert both.tell_leaks() == "3 images and 2 groups of near-duplicates are"
