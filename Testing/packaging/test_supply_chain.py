"""What the project needs is listed where users look, under licences that are known, and as a bill of materials."""

from __future__ import annotations

import json
import tomllib
from email.message import Message
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import supply_chain
from supply_chain import Audit, Package

# How README.md calls them.
TITLES = {"torch": "PyTorch"}


@pytest.fixture(scope="module")
def direct(repository: Path) -> dict[str, str]:
    """Direct dependencies of scdseg and of the extras that users install: canonical name → extra, or nothing."""
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {name: lines for name, lines in project["optional-dependencies"].items() if name not in ("test", "audit")}
    groups = {**extras, "": project["dependencies"]}
    return {canonicalize_name(Requirement(line).name): extra for extra, lines in groups.items() for line in lines}


@pytest.fixture(scope="module")
def packages() -> list[Package]:
    """What this environment's scdseg needs."""
    return supply_chain.find_packages()[0]


def stated(**fields: str) -> Package:
    """A package with the metadata that are given; ``_`` stands for ``-`` in names of fields."""
    metadata = Message()
    for name, value in fields.items():
        metadata[name.replace("_", "-")] = value
    installed: Any = SimpleNamespace(metadata=metadata, version="1.0")
    return Package("some", installed, ("scdseg",), ())


def first_cells(text: str) -> str:
    """First cells of all rows of a page's tables, in lower case."""
    return "\n".join(line.split("|")[1] for line in text.splitlines() if line.startswith("|")).lower()


def test_every_direct_dependency_is_in_both_tables(repository: Path, direct: dict[str, str]) -> None:
    page = first_cells((repository / "docs" / "dependencies.md").read_text(encoding="utf-8"))
    readme = (repository / "README.md").read_text(encoding="utf-8").partition("\n## Dependencies\n")[2]
    table = first_cells(readme.partition("\n## ")[0])
    for name in direct:
        assert f"[{name}](" in page.replace("_", "-") or f" {name} " in page, f"docs/dependencies.md lacks {name}"
        assert TITLES.get(name, name).lower() in table, f"README.md lacks {name}"


def test_every_licence_of_this_environment_is_known_and_accepted(packages: list[Package]) -> None:
    assert [(package.title, package.licence) for package in packages if not package.accepted] == []
    table = supply_chain.licence_table(packages, {})
    assert "unknown" not in table
    for package in packages:
        assert f"| {package.installed.version} | {package.licence} |" in table


def test_the_packages_are_those_that_users_need(packages: list[Package], direct: dict[str, str]) -> None:
    found = {package.name: package for package in packages}
    assert {name for name, extra in direct.items() if not extra} <= set(found)
    assert all(found[name].asked_for_by[0] == "scdseg" for name in found if name in direct)
    assert found["torch"].extras == ()
    assert "monai" in found["torch"].asked_for_by
    assert found["sympy"].asked_for_by == ("torch",)
    assert not {"pytest", "ruff", "cyclonedx-bom", "pip-audit", "scdseg"} & set(found)


@pytest.mark.parametrize(
    ("fields", "licence", "accepted"),
    [
        ({"License_Expression": "MIT OR (BSD-3-Clause AND Zlib)"}, "MIT OR (BSD-3-Clause AND Zlib)", True),
        ({"License": "Some\nlong text", "Classifier": "License :: OSI Approved :: MIT License"}, "MIT License", True),
        ({"License_Expression": "MIT AND GPL-3.0-only"}, "MIT AND GPL-3.0-only", False),
        ({"License": "UNKNOWN"}, "", False),
        ({}, "", False),
    ],
)  # fmt: skip
def test_a_licence_that_is_unknown_or_asks_for_more_is_refused(
    fields: dict[str, str], licence: str, accepted: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    package = stated(Name="Some", **fields)
    assert (package.licence, package.accepted) == (licence, accepted)
    assert supply_chain.report_licences([package]) == accepted
    if not accepted:
        assert f"Some 1.0: licence {licence or 'unknown'}" in capsys.readouterr().out
    assert f"| Some | 1.0 | {licence or '**unknown**'} | scdseg |" in supply_chain.licence_table([package], {})


def test_the_bill_of_materials_holds_what_users_need_and_nothing_else(packages: list[Package]) -> None:
    document = json.loads(json.dumps(supply_chain.bill_of_materials(packages)))
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    root = document["metadata"]["component"]
    assert (root["name"], root["version"]) == ("scdseg", version("scdseg"))
    components = {canonicalize_name(component["name"]): component for component in document["components"]}
    assert {name: c["version"] for name, c in components.items()} == {p.name: p.installed.version for p in packages}
    assert all(component["licenses"] and component["purl"] for component in components.values())
    assert components["torch"]["scope"] == "required"
    asked = {entry["ref"]: entry.get("dependsOn", []) for entry in document["dependencies"]}
    assert sorted(asked[root["bom-ref"]]) == sorted(
        components[package.name]["bom-ref"] for package in packages if "scdseg" in package.asked_for_by
    )


def answer(monkeypatch: pytest.MonkeyPatch, answers: dict[str, tuple[str, str]]) -> None:
    """Stand in for pip-audit: service → its output and error output."""

    def run(command: list[str], **_: Any) -> Any:
        out, err = answers[command[command.index("-s") + 1]]
        return SimpleNamespace(stdout=out, stderr=err)

    monkeypatch.setattr(supply_chain, "_require", lambda *_: None)
    monkeypatch.setattr(supply_chain.subprocess, "run", run)


def told(*dependencies: dict[str, Any]) -> str:
    return json.dumps({"dependencies": dependencies, "fixes": []})


SKIPPED = told({"name": "some", "skip_reason": "Dependency not found on PyPI and could not be audited"})
CLEAN = told({"name": "Some", "version": "1.0", "vulns": []})
VULNERABLE = told({"name": "some", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]})


def test_a_package_that_no_service_answers_for_is_not_called_clean(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(
        monkeypatch, {"pypi": (SKIPPED, "No known vulnerabilities found"), "osv": ("", "Traceback\nno connection\n")}
    )
    result = supply_chain.audit([stated()])
    assert result.unanswered == ["some"]
    assert result.problems[1] == "osv answered for 0 of 1 packages: no connection"
    assert supply_chain.report_audit(result, 1)
    printed = capsys.readouterr().out
    assert "0 of 1 packages checked" in printed
    assert "NOT CHECKED, which does not mean clean: some" in printed


def test_what_one_service_does_not_know_another_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, {"pypi": (SKIPPED, ""), "osv": (CLEAN, "")})
    result = supply_chain.audit([stated()])
    assert (result.unanswered, result.vulnerabilities) == ([], [])


def test_a_vulnerability_is_told_with_its_cure_and_has_to_be_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(monkeypatch, {"pypi": (VULNERABLE, "Found 1 known vulnerability")})
    result = supply_chain.audit([stated()])
    assert not supply_chain.report_audit(result, 1)
    assert "some 1.0: PYSEC-1, fixed in 1.1: not explained" in capsys.readouterr().out
    monkeypatch.setitem(supply_chain.VULNERABILITIES_EXPLAINED, "PYSEC-1", "that part is never called")
    assert supply_chain.report_audit(result, 1)
    assert "fixed in 1.1: that part is never called" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("result", "code"),
    [(Audit(), 0), (Audit(unanswered=["some"]), 3), (Audit([("some", "1", "PYSEC-1", "2")], ["other"]), 1)],
)
def test_the_exit_code_tells_clean_wrong_and_unchecked_apart(
    result: Audit, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(supply_chain, "bill_of_materials", lambda packages: {})
    monkeypatch.setattr(supply_chain, "audit", lambda packages: result)
    assert supply_chain.main(["-o", str(tmp_path / "new")]) == code
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["licences.md", "sbom.cdx.json"]
