"""Where a source's images are: found by the ends of their names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.sources.image_search import find_image_root

FOUND = {
    "beside": (["1.png"], ["1.png"], "."),
    "in a folder": (["1.png"], ["images/1.png"], "images"),
    "with folders in the reference": (["ct/1.png"], ["images/ct/1.png"], "images"),
    "a file's own folder named in the reference": (["images/1.png"], ["images/1.png"], "."),
    "another machine's absolute path": (["/home/ann/images/1.png"], ["data/images/1.png"], "data"),
    "backslashes and a drive": (["C:\\images\\1.png"], ["data/images/1.png"], "data"),
    "another suffix": (["1.jpeg"], ["images/1.jpg"], "images"),
    "no suffix": (["1"], ["images/1.jpg"], "images"),
    "another case": (["A.PNG"], ["images/a.png"], "images"),
    "decomposed letters": (["u\u0308.png"], ["images/\u00fc.png"], "images"),
    "the folder with most": (["1.png", "2.png"], ["few/1.png", "all/1.png", "all/2.png"], "all"),
    "as many in two folders: the nearer one": (["1.png"], ["a/b/1.png", "c/1.png"], "c"),
    "a root whose name has another case": (["1.png"], ["Images/1.png"], "Images"),
    "none": (["1.png"], ["images/2.png"], None),
    "no references": ([], ["images/2.png"], None),
    "empty references": (["", ".", "/"], ["images/2.png"], None),
}


@pytest.mark.parametrize("case", FOUND)
def test_the_root_is_the_folder_below_which_the_names_fit(case):
    references, names, root = FOUND[case]
    assert find_image_root(references, names) == root


PART = st.text("abc", min_size=1, max_size=2)
PATH = st.lists(PART, min_size=1, max_size=3).map("/".join)


@given(st.lists(PATH, min_size=1), PATH)
def test_references_below_one_folder_lead_to_a_root_that_holds_at_least_one(references, folder):
    names = [f"{folder}/{reference}" for reference in references]
    root = find_image_root(references, names)
    assert root is not None
    assert any((f"{root}/{reference}" if root != "." else reference) in names for reference in references)
