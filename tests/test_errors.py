"""The exception tree: every member is a user's to mend, and its message names culprit and fix."""

from __future__ import annotations

import errno
import inspect
import pickle

import pytest

from vqa_pipeline import errors


def test_the_tree_in_the_docstring_is_the_tree_in_the_code():
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.VqaPipelineError)]
    drawn = errors.__doc__ or ""
    assert len(classes) == 24
    assert [c.__name__ for c in classes if c.__name__ not in drawn] == []


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            errors.SettingsError("vocabulary.min_count", "leaves no answer", "Lower it."),
            "`vocabulary.min_count`: leaves no answer. Lower it.",
        ),
        (
            errors.SourceError("clinic", "files", "raw/a.csv", "does not exist", "Check the path.", line=7),
            "source 'clinic', `files`: raw/a.csv, line 7: does not exist. Check the path.",
        ),
        (
            errors.GateFailed("dataset", ["12 rows are rejected"], "store/candidates/1"),
            (
                "dataset was not published:\n  - 12 rows are rejected\n"
                "The candidate is kept in store/candidates/1; the last good version stays."
            ),
        ),
        (
            errors.StaleInput("checkpoint", "vocabulary", "dataset"),
            (
                "checkpoint would mix states: vocabulary was made from another dataset than the current one. "
                "Materialize vocabulary first, or everything at once."
            ),
        ),
        (
            errors.VocabularyMismatch("aaaa", "bbbb"),
            (
                "the checkpoint was trained with answer vocabulary aaaa, not bbbb. "
                "Use the vocabulary stored in the checkpoint, or train again with the new one."
            ),
        ),
        (
            errors.WorkerFailed("train", -9, "last words", "log.txt"),
            (
                "the train process was killed by signal 9. Its log is log.txt. "
                "Run again: it resumes from its last checkpoint.\nlast words"
            ),
        ),
        (
            errors.WorkerFailed("predict", 1, "last words"),
            "the predict process ended with status 1. Run again: it starts over.\nlast words",
        ),
        (
            errors.DamagedVersion("dataset", "v1", "store/v1/rows.txt", "is missing"),
            (
                "dataset version v1: store/v1/rows.txt: is missing. "
                "Restore the file, or materialize dataset, which makes the version again."
            ),
        ),
        (
            errors.DiskError("data/store", errno.ENOSPC),
            "data/store: No space left on device. Free space on its disk, then run again.",
        ),
        (
            errors.DiskError("data/store", errno.EEXIST),
            "data/store: File exists. Move away what stands in its place, or choose another folder.",
        ),
        (
            errors.DiskError("/proc/nope", errno.ENOENT),
            "/proc/nope: No such file or directory. Choose another folder.",
        ),
        (
            errors.MissingPackage("train", "torch", "No module named 'torch'"),
            (
                "the train process needs torch: No module named 'torch'. "
                "Install what trains: pip install 'vqa-pipeline[training]'"
            ),
        ),
    ],
)
def test_messages_name_the_culprit_and_the_fix(error, expected):
    assert str(error) == expected


@pytest.mark.parametrize(
    "error",
    [
        errors.SourceError("clinic", "files", "raw/a.csv", "does not exist", "Check the path.", line=7),
        errors.SourceChanged("clinic", "raw/a.csv"),
        errors.DiskError("data/store", errno.ENOSPC),
        errors.GateFailed("dataset", ["12 rows are rejected"], "store/candidates/1"),
        errors.TaskProcessDied(4),
        errors.NonFiniteLoss(12, 3, 0.5, ["a/1", "a/2"], "scratch/corrections"),
        errors.OutOfMemory("384 x 608 pixels, 12 tokens", "CUDA out of memory"),
    ],
)
def test_an_error_travels_between_processes_with_message_and_culprits(error):
    arrived = pickle.loads(pickle.dumps(error))
    assert (type(arrived), str(arrived), vars(arrived)) == (type(error), str(error), vars(error))


def test_culprits_are_kept_as_data():
    error = errors.NonFiniteLoss(12, 3, 0.5, ["a/1", "a/2"], "scratch/corrections")
    assert (error.step, error.epoch, error.learning_rate, error.question_ids) == (12, 3, 0.5, ("a/1", "a/2"))
    assert error.review == "scratch/corrections"


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "ENOTDIR", "EFBIG", "EIO", "EMFILE"])
def test_what_only_a_disk_says_is_a_disk_s_error(name):
    error = errors.DiskError.from_number(getattr(errno, name), "data/store")
    assert error is not None
    assert (error.path, error.number) == ("data/store", getattr(errno, name))


@pytest.mark.parametrize("number", [None, errno.ENOENT, errno.EEXIST, errno.EISDIR, errno.EINVAL, errno.EBADF])
def test_what_may_be_the_program_s_own_mistake_is_not_taken_for_the_disk_s(number):
    assert errors.DiskError.from_number(number, "data/store") is None
