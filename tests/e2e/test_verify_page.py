"""docs/verify.md, as its reader follows it."""

from __future__ import annotations

import pathlib
import shutil

from demo import Demo
from page import Reader
from test_dev import search_path

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "verify.md"


def test_the_page_of_the_docs(finished_demo: Demo, tmp_path: pathlib.Path) -> None:
    reader = Reader(PAGE, tmp_path, search_path(tmp_path, finished_demo.binary), {})
    assert reader.program() == "lakehead demo"
    # Run once for all tests; its directory is where the command would have left it.
    shutil.copytree(finished_demo.directory, tmp_path / "lakehead-demo")
    assert reader.follow() == 4
