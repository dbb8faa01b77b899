"""List the packages that scdseg needs, with their licences, and ask which have known vulnerabilities.

``python Testing/supply_chain.py [-o FOLDER]`` looks into the environment that it runs in (extra ``[audit]``) and writes
``sbom.cdx.json``, a CycloneDX bill of materials, and ``licences.md``, a table. Both hold what scdseg and those of its
extras that are installed need, directly or through others, and leave out the tools of the extras ``[test]`` and
``[audit]``. Then pip-audit asks PyPI, and OSV for what PyPI does not answer, for vulnerabilities of the same versions.

Exit codes: 0, all licences are accepted or explained and so are all vulnerabilities; 1, one is not; 2, something is not
installed; 3, nothing is wrong as far as is known, but not every package could be checked for vulnerabilities.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECT = "scdseg"
TOOL_EXTRAS = ("test", "audit")  # what developers run; no part of what users run
SERVICES = ("pypi", "osv")  # as pip-audit names them

# Licences that ask for no more than notices to be passed on; the parts of a statement are compared by their beginnings.
PERMISSIVE = (
    "0bsd", "3-clause bsd", "apache", "bsd", "bsl-1.0", "cc0", "isc", "llvm-exception", "mit", "psf",
    "python software foundation", "zlib",
)  # fmt: skip
# Packages whose licence is none of those, or not stated, and why they may be needed all the same: pattern → reason.
LICENCES_EXPLAINED = {
    "certifi": "MPL-2.0 covers the package's own file of certificates, which is used unchanged.",
    "cuda-toolkit": "Names the packages below `nvidia-` that PyTorch's CUDA build needs, and has nothing of its own.",
    "nvidia-*": "NVIDIA's own licences. They come with PyTorch's CUDA build for Linux, and are not passed on.",
    "pyside6-essentials": "Used under LGPL-3.0: an unchanged package that users can replace. It is not passed on.",
    "shiboken6": "Comes with PySide6 and is used under LGPL-3.0 like it.",
    "tqdm": "MPL-2.0 covers the package's own files, which are used unchanged.",
}
# Vulnerabilities that do not concern how scdseg uses a package: id → reason.
VULNERABILITIES_EXPLAINED: dict[str, str] = {}


class NotInstalledError(Exception):
    """Something that is needed here is not installed; the message says what to do."""


@dataclass(frozen=True)
class Package:
    """A package that is needed.

    Args:
        name: canonical name, by which packages are compared.
        installed: it, in this environment.
        asked_for_by: names of those whose requirement it is, ``scdseg`` among them if it is a direct dependency.
        extras: of scdseg that need it; empty if scdseg itself does.
    """

    name: str
    installed: Distribution
    asked_for_by: tuple[str, ...]
    extras: tuple[str, ...]

    @property
    def title(self) -> str:
        """Name as the package writes it."""
        return self.installed.metadata["Name"]

    @property
    def licence(self) -> str:
        """Licence as the package states it: SPDX expression, short text or classifiers; empty if it states none."""
        for stated in (self._field("License-Expression"), self._field("License")):
            # Some put the licence's whole text there, and classifiers say which it is.
            if stated and len(stated) <= 120 and "\n" not in stated and stated.upper() != "UNKNOWN":
                return stated
        classifiers = [c for c in self.installed.metadata.get_all("Classifier") or [] if c.startswith("License ::")]
        return " AND ".join(c.rpartition(" :: ")[2] for c in classifiers if not c.endswith("OSI Approved"))

    @property
    def accepted(self) -> bool:
        """Whether every part of the licence is permissive, or the package is explained."""
        parts = [part.strip(" ()").lower() for part in re.split(r" (?:AND|OR|WITH) ", self.licence)]
        return all(part.startswith(PERMISSIVE) for part in parts) or bool(self.explained_as)

    @property
    def explained_as(self) -> str:
        """Pattern of the package in ``LICENCES_EXPLAINED``; empty if it has none."""
        return next((pattern for pattern in LICENCES_EXPLAINED if fnmatchcase(self.name, pattern)), "")

    @property
    def home_page(self) -> str:
        """Address of the project: its home page, else its source; empty if it names none."""
        pairs = (line.partition(", ") for line in self.installed.metadata.get_all("Project-URL") or [])
        links = {label.strip().lower(): address for label, _, address in pairs}
        links.setdefault("homepage", self._field("Home-page"))
        order = ("homepage", "home", "repository", "source", "source code", "github", "documentation")
        return next((links[label] for label in order if links.get(label)), "")

    def _field(self, name: str) -> str:
        return str((self.installed.metadata.get_all(name) or [""])[0])


@dataclass
class Audit:
    """What pip-audit found.

    Args:
        vulnerabilities: name, version, id, first versions without it.
        unanswered: packages that no service answered for.
        problems: what each service said instead, in a line.
    """

    vulnerabilities: list[tuple[str, str, str, str]] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def find_requirements(extra: str = "") -> dict[str, set[str]]:
    """What scdseg needs here, directly or through others: canonical name → by whom it is asked for.

    Args:
        extra: of scdseg, whose requirements are added.

    Raises:
        NotInstalledError: something of it is not installed.
    """
    asked: dict[str, set[str]] = {}
    done: set[tuple[str, str]] = set()
    waiting = [(PROJECT, wanted) for wanted in ("", *([extra] if extra else []))]
    missing = set()
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in done:
            continue
        done.add((name, wanted))
        try:
            lines = distribution(name).requires or []
        except PackageNotFoundError:
            missing.add(name)
            continue
        for requirement in map(Requirement, lines):
            if requirement.marker and not requirement.marker.evaluate({"extra": wanted}):
                continue
            needed = canonicalize_name(requirement.name)
            asked.setdefault(needed, set()).add(name)
            waiting += [(needed, further) for further in ("", *requirement.extras)]
    if missing:
        raise NotInstalledError(f"not installed: {', '.join(sorted(missing))}")
    asked.pop(PROJECT, None)
    return asked


def find_packages() -> tuple[list[Package], dict[str, str]]:
    """The packages that scdseg and its installed extras need, and why other extras are left out: extra → reason.

    Raises:
        NotInstalledError: scdseg itself, or what it needs without extras, is not installed.
    """
    always = find_requirements()
    asked = {name: set(by) for name, by in always.items()}
    extras: dict[str, list[str]] = {}
    left_out = {}
    for extra in sorted(set(distribution(PROJECT).metadata.get_all("Provides-Extra") or []) - set(TOOL_EXTRAS)):
        try:
            found = find_requirements(extra)
        except NotInstalledError as error:
            left_out[extra] = str(error)
            continue
        for name, by in found.items():
            asked.setdefault(name, set()).update(by)
            if name not in always:
                extras.setdefault(name, []).append(extra)
    return [
        Package(name, distribution(name), tuple(sorted(by, key=_direct_first)), tuple(extras.get(name, ())))
        for name, by in sorted(asked.items())
    ], left_out


def _direct_first(name: str) -> tuple[bool, str]:
    return name != PROJECT, name


def licence_table(packages: Iterable[Package], left_out: dict[str, str]) -> str:
    """The packages as Markdown: one table of what is always needed, one of what extras add."""
    groups: dict[bool, list[str]] = {False: [], True: []}
    explained: dict[str, list[str]] = {}
    for package in packages:
        link = f"[{package.title}]({package.home_page})" if package.home_page else package.title
        extras = " ".join(f"`[{extra}]`" for extra in package.extras)
        cells = [link, package.installed.version, package.licence or "**unknown**", ", ".join(package.asked_for_by)]
        groups[bool(extras)].append("| " + " | ".join([*cells, *([extras] if extras else [])]) + " |")
        explained.setdefault(package.explained_as, []).append(package.title)
    head = "| package | version | licence | asked for by |"
    sections = ["\n".join([head, "|---|---|---|---|", *groups[False]])]
    if groups[True]:
        sections.append("\n".join([f"{head} with the extra |", "|---|---|---|---|---|", *groups[True]]))
    notes = [f"- {', '.join(explained[p])}: {reason}" for p, reason in LICENCES_EXPLAINED.items() if p in explained]
    if notes:
        sections.append("\n".join(notes))
    if left_out:
        sections.append("\n".join(f"Extra `[{extra}]` is left out: {reason}." for extra, reason in left_out.items()))
    return "\n\n".join(sections) + "\n"


def bill_of_materials(packages: Iterable[Package]) -> dict[str, Any]:
    """A valid CycloneDX document of scdseg and the packages; those that only extras need have the scope ``optional``.

    Raises:
        NotInstalledError: cyclonedx-bom is not installed.
    """
    _require("cyclonedx_py", "cyclonedx-bom")
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "environment.json"
        # It is validated below, after the last change.
        command = ["cyclonedx_py", "environment", "--spec-version", "1.6", "--no-validate", "--output-file", str(path)]
        project = ["--pyproject", str(REPOSITORY / "pyproject.toml"), sys.executable]
        subprocess.run([sys.executable, "-m", *command, *project], check=True, capture_output=True)
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    root = document["metadata"]["component"]
    root["version"] = distribution(PROJECT).version
    wanted = {package.name: package for package in packages}
    # It lists the whole environment, tools and strangers as well.
    components = [c for c in document["components"] if canonicalize_name(c["name"]) in wanted]
    references = {root["bom-ref"]: PROJECT}
    for component in components:
        package = wanted[canonicalize_name(component["name"])]
        component["scope"] = "optional" if package.extras else "required"
        # Free text as "Apache License 2.0" is left out of it.
        component.setdefault("licenses", [{"license": {"name": package.licence or "unknown"}}])
        references[component["bom-ref"]] = package.name
    document["components"] = components
    document["dependencies"] = [
        {
            "ref": d["ref"],
            "dependsOn": [ref for ref in d.get("dependsOn", ()) if _asks(d["ref"], ref, references, wanted)],
        }
        for d in document["dependencies"]
        if d["ref"] in references
    ]
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document))
    if problem is not None:
        raise ValueError(f"the bill of materials is not valid CycloneDX: {problem}")
    return document


def _asks(ref: str, other: str, references: dict[str, str], wanted: dict[str, Package]) -> bool:
    """Whether a component asks for another, rather than an extra of it that nobody wanted."""
    return other in references and references[ref] in wanted[references[other]].asked_for_by


def audit(packages: Sequence[Package], services: Sequence[str] = SERVICES) -> Audit:
    """Ask the services one after the other, each for the packages that those before did not answer for.

    Raises:
        NotInstalledError: pip-audit is not installed.
    """
    _require("pip_audit", "pip-audit")
    result = Audit(unanswered=[package.name for package in packages])
    # Builds as torch 2.13.0+cpu are not on PyPI; what is known of a version is known of its builds.
    versions = {package.name: Version(package.installed.version).public for package in packages}
    for service in services:
        asked = result.unanswered
        if not asked:
            break
        answers, problem = _ask(service, [f"{name}=={versions[name]}" for name in asked])
        for name, answer in answers:
            for vulnerability in answer:
                fixed = ", ".join(vulnerability["fix_versions"]) or "none"
                result.vulnerabilities.append((name, versions[name], vulnerability["id"], fixed))
        answered = {name for name, _ in answers}
        result.unanswered = [name for name in asked if name not in answered]
        if result.unanswered:
            told = problem or "the others are unknown to it"
            result.problems.append(f"{service} answered for {len(answered)} of {len(asked)} packages: {told}")
    return result


def _ask(service: str, requirements: Sequence[str]) -> tuple[list[tuple[str, list[dict[str, Any]]]], str]:
    """Names and vulnerabilities of the packages that the service knows, and what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requirements.txt"
        path.write_text("\n".join(requirements), encoding="utf-8")
        options = ["-r", str(path), "--no-deps", "--disable-pip", "-s", service, "-f", "json"]
        command = [sys.executable, "-m", "pip_audit", *options, "--progress-spinner", "off"]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    # Its exit code says nothing: it is 0 as well when no package was found, and 1 for vulnerabilities and for errors.
    return list(_read(done.stdout)), (done.stderr.strip().splitlines() or [""])[-1] if not done.stdout.strip() else ""


def _read(output: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for dependency in json.loads(output)["dependencies"] if output.strip() else ():
        if "skip_reason" not in dependency:
            yield canonicalize_name(dependency["name"]), dependency["vulns"]


def _require(module: str, package: str) -> None:
    if find_spec(module) is None:
        raise NotInstalledError(f"{package} is missing: pip install -c constraints.txt -e '.[audit]'")


def report_licences(packages: Sequence[Package]) -> bool:
    """Print which licences need an explanation; whether there are none."""
    refused = [package for package in packages if not package.accepted]
    for package in refused:
        told = f"licence {package.licence}" if package.licence else "licence unknown"
        print(f"{package.title} {package.installed.version}: {told}, not explained in LICENCES_EXPLAINED")
    print(f"licences: {len(packages)} packages, {len(refused)} to be explained")
    return not refused


def report_audit(result: Audit, number: int) -> bool:
    """Print what was found of so many packages; whether every vulnerability is explained."""
    open_ones = 0
    for name, version, identifier, fixed in result.vulnerabilities:
        reason = VULNERABILITIES_EXPLAINED.get(identifier)
        open_ones += reason is None
        print(f"{name} {version}: {identifier}, fixed in {fixed}: {reason or 'not explained'}")
    for problem in result.problems:
        print(problem)
    answered = number - len(result.unanswered)
    found = len(result.vulnerabilities)
    print(f"vulnerabilities: {answered} of {number} packages checked, {found} found, {open_ones} to be explained")
    if result.unanswered:
        print(f"NOT CHECKED, which does not mean clean: {', '.join(result.unanswered)}")
    return not open_ones


def main(arguments: Sequence[str] | None = None) -> int:
    """Write both files and ask for vulnerabilities; returns the exit code."""
    parser = argparse.ArgumentParser(description="Dependencies: bill of materials, licences, known vulnerabilities.")
    parser.add_argument("-o", "--output", type=Path, default=REPOSITORY / "build" / "supply_chain", metavar="FOLDER")
    folder: Path = parser.parse_args(arguments).output
    try:
        packages, left_out = find_packages()
        document = bill_of_materials(packages)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "sbom.cdx.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        (folder / "licences.md").write_text(licence_table(packages, left_out), encoding="utf-8")
        print(f"wrote sbom.cdx.json and licences.md in {folder}")
        for extra, reason in left_out.items():
            print(f"extra [{extra}] is left out: {reason}")
        explained = report_licences(packages)
        result = audit(packages)
    except NotInstalledError as error:
        print(error, file=sys.stderr)
        return 2
    explained &= report_audit(result, len(packages))
    if not explained:
        return 1
    return 3 if result.unanswered else 0


if __name__ == "__main__":
    sys.exit(main())
