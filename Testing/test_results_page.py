"""The page of results: a section is replaced, and the others stay."""

from __future__ import annotations

from pathlib import Path

from results_page import machine, markdown_table, write_section


def test_sections_are_replaced_one_by_one(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    write_section("Speed", "old \\1 figures", page)
    write_section("Quality", markdown_table(["", "Dice"], [["dense", "0.8"]]), page)
    write_section("Speed", "new figures", page)
    text = page.read_text()
    assert text.startswith("# Results\n")
    assert "old" not in text
    assert text.index("## Speed\n\nnew figures\n") < text.index(
        "## Quality\n\n|  | Dice |\n| --- | ---: |\n| dense | 0.8 |"
    )
    write_section("Speed", "new figures", page)
    assert page.read_text() == text


def test_a_gpu_is_named_as_it_is() -> None:
    assert machine("Some GPU").startswith("Some GPU, PyTorch ")
    assert "thread" in machine("x86_64 CPU, 2 threads")
