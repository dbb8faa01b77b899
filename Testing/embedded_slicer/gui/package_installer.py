"""slicer.packaging: finds and installs Python packages. Checked against Slicer's Base/Python/slicer/packaging.py."""

from __future__ import annotations

import importlib.metadata
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import slicer
from packaging.requirements import Requirement

__all__ = ["isPipInstallInProgress", "load_requirements", "pip_check", "pip_ensure", "pip_install"]

_NEVER_INSTALLED = frozenset({"torch", "torchvision"})


def load_requirements(path: str | Path) -> list[Requirement]:
    """Return the requirements of a file; comments and options are skipped."""
    lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


def _toRequirements(requirements: str | Requirement | list[str | Requirement]) -> list[Requirement]:
    if isinstance(requirements, Requirement):
        return [requirements]
    if isinstance(requirements, str):
        requirements = list(shlex.split(requirements))
    return [entry if isinstance(entry, Requirement) else Requirement(entry) for entry in requirements]


def pip_check(req: str | Requirement | list[str | Requirement]) -> bool:
    """Return whether requirements are installed in fitting versions; what is of no use here counts as installed."""
    return all(_isInstalled(requirement) for requirement in _toRequirements(req))


def _isInstalled(requirement: Requirement) -> bool:
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    try:
        installed = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    if installed not in requirement.specifier:
        return False
    needed = [Requirement(entry) for entry in importlib.metadata.requires(requirement.name) or []]
    return all(
        _isInstalled(Requirement(str(entry).partition(";")[0]))
        for entry in needed
        for extra in requirement.extras
        if entry.marker is not None and entry.marker.evaluate({"extra": extra})
    )


def isPipInstallInProgress() -> bool:
    """Return False: the host installs only in the foreground."""
    return False


def pip_ensure(
    requirements: str | Requirement | list[str | Requirement],
    constraints: str | Path | None = None,
    skip_packages: list[str] | None = None,
    prompt_install: bool = True,
    prompt_restart: bool = True,
    requester: str | None = None,
    skip_in_testing: bool = True,
    show_progress: bool = True,
) -> list[str] | None:
    """Install what is missing, after asking; in testing mode nothing is installed.

    Raises:
        RuntimeError: the user declined.
        subprocess.CalledProcessError: pip failed.
    """
    missing = [requirement for requirement in _toRequirements(requirements) if not pip_check(requirement)]
    if not missing or (skip_in_testing and slicer.app.testingEnabled()):
        return None
    names = [str(requirement) for requirement in missing]
    question = f"{len(names)} Python package(s) need to be installed:\n\n" + "\n".join(names) + "\n\nContinue?"
    if prompt_install and not slicer.util.confirmOkCancelDisplay(question, windowTitle=requester):
        raise RuntimeError(f"Installation of {', '.join(names)} was declined")
    return pip_install(names, constraints, skip_packages=skip_packages, requester=requester)


def pip_install(
    requirements: str | list[str],
    constraints: str | Path | None = None,
    no_deps_requirements: str | list[str] | None = None,
    skip_packages: list[str] | None = None,
    blocking: bool = True,
    show_progress: bool = True,
    requester: str | None = None,
    logCallback: Callable[[str], None] | None = None,
    completedCallback: Callable[[int], None] | None = None,
) -> list[str] | None:
    """Run pip in the host's environment.

    Raises:
        RuntimeError: asked for PyTorch, which only Slicer's PyTorch extension installs.
        NotImplementedError: asked for a way to install that the host does not have.
        subprocess.CalledProcessError: pip failed.
    """
    if not blocking or skip_packages is not None:
        raise NotImplementedError("The embedded host has pip_install only with blocking=True and without skip_packages")
    for wanted, options in ((no_deps_requirements, ["--no-deps"]), (requirements, [])):
        arguments = shlex.split(wanted) if isinstance(wanted, str) else list(wanted or [])
        for argument in arguments:
            if argument.partition("[")[0].partition("=")[0].rstrip("<>~! ") in _NEVER_INSTALLED:
                raise RuntimeError(f"The embedded host does not install {argument}: install it beforehand")
        if arguments:
            limits = ["-c", str(constraints)] if constraints else []
            subprocess.run([sys.executable, "-m", "pip", "install", *options, *arguments, *limits], check=True)
    return None
