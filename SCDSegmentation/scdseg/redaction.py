"""Messages without what may tell who a patient is: what is not known to be harmless is left out.

Three rules, each made for what the one before may miss. Names and paths that are known go first. Then goes what looks
like a path, stands in quotes or is a number that may be a date or an identifier. At last goes every word that this
program's own source, or the short lists below of what libraries and systems say, does not have: a name that got into a
message in a way that nobody thought of is not among these. Many names are words, too (Mark, Black, Best): a word with a
capital stays only if it is a term, or begins a sentence and really begins one of this program's messages.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path

from scdseg.resources import module_dir

MAX_LENGTH = 400
"""Characters that are left of a message at most."""

_EXTENSIONS = ("nii.gz", "nii", "nrrd", "nhdr", "mha", "mhd", "dcm", "json", "safetensors", "pt", "py", "so", "dll")
_SYMBOLS = "…–×→≥≤’"  # beyond ASCII, and in messages of this program

# What is settled becomes one character of those that are for private use, so that no later rule touches it.
_PRIVATE = re.compile("[\ue000-\uf8ff]")
_FIRST_PRIVATE = 0xE000
_PART = r"\d+(?:\.\d+)*"
# Numbers in a row: dates, telephone numbers and identifiers are written in many ways.
_ROW = re.compile(rf"{_PART}(?:(?:[\s_:/-]{{1,3}}|\.\s){_PART})*")
# Identifiers with hyphens, DICOM UIDs, dates.
_PERSONAL = re.compile(r"\d-\d|\d+(?:\.\d+){3,}|(?<![\d.])(?:\d{1,2}\.\d{1,2}\.\d{4}|\d{4}\.\d{1,2}\.\d{1,2})(?![\d.])")
# Large numbers are harmless before what they count or measure, as a size, and where programs number their own.
_COUNTED = re.compile(
    r"\s(?:bytes?|[kKMGT]i?B|mm|cm|ml|ms|s|seconds|minutes|voxels|pixels|windows|tokens|labels|structures|slices|frames|"
    r"images|volumes|channels|classes|values|elements|characters|files|lines|levels|parts|events|requests|steps|times|"
    r"threads|bits)(?!\w)|\s?×"
)
_NUMBERED = re.compile(r"(?:(?<!\w)(?:windows|Errno|WinError) |\", line )$")
_FRACTION = re.compile(r"(?<![\w./\\])(?:0|[1-9]\d{0,4})/(?:0|[1-9]\d{0,4})(?![\w./\\])")
# A root, a drive, a share, a home folder, or anything else before a separator.
_PATH_START = re.compile(r"(?:[A-Za-z]:|(?<![\w.~@%+-])[\w.~@%+-]+)?[\\/](?=\S)")
_KNOWN_END = re.compile(rf".*\.({'|'.join(re.escape(e) for e in _EXTENSIONS)})(?!\w)", re.IGNORECASE)
_INSTALLED = (Path(__file__).parents[1], module_dir())  # folders that this program's packages lie in
_OWN_SOURCE = re.compile(r"(?:scdseg|SCDSegmentationLib)[\\/](?:\w+[\\/])*\w+\.py$")
_QUOTED = re.compile(r"(?<!\w)'(.+?)'(?!\w)|\"(.*?)\"|[“”„«‘](.*?)[”“»’]|`(.*?)`")
# Marks of scripts beyond ASCII are no letters to a pattern, but parts of words.
_WORD = re.compile(rf"(?:\w|[^\x00-\x7f\ue000-\uf8ff{_SYMBOLS}])+")
_DEVICE = re.compile(r"(?:cpu|cuda|mps)(?::\d{1,2})?")
_DIMENSIONS = re.compile(r"(?<!\w)[234]-D(?!\w)")
_SENTENCE_END = re.compile(r"(?:^|[.:!?\]]\s+|[(\[]|\| )$")
# How messages begin in the source: after a quote, or after the end of a sentence within it. The panel writes the first
# letter of the engine's errors as a capital.
_NO_MESSAGE = re.compile(r'"""(?:.|\n)*?"""|^\s*#.*$', re.MULTILINE)
_LITERAL = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
_BEGINNING = re.compile(r"(?:^|[.:!?] |[(\[])([A-Z][a-z]+)(?= [a-z'{])")
_ENGINES_BEGINNING = re.compile(r'(?:Error\(|(?:_|message) = \(?|[A-Z] = \()\s*f?"([a-z]+) ')
_REPEATED = re.compile(r"<text>(?:[^\w<]*<text>)+")

_SAFE_QUOTED = """
    auto bf16 fp32 torch torchvision monai numpy scipy nibabel safetensors jsonschema platformdirs psutil
    SimpleITK rich scd scdseg
"""
# What PyTorch, ITK, Python and operating systems say when something goes wrong, and proper terms: names of products and
# parts of the panel, which have capitals wherever they stand.
_OTHER_WORDS = """
    abort aborted access address alias allocate allocated allocation allocator already argument arguments assert
    assertion attribute available bad bits broken buffer bug build built bus byte bytes call callback calls capability
    capacity child compile compiled compute connection context convert core cores corrupt could crash cublas cuda cudnn
    current denied deprecated deprecation device devices directory disk driver drivers dtype dump dumped enough exceeded
    exception exhausted expected failed failure fatal fault file files format free function future got gpu handle
    illegal import imported in index initialization initialize insufficient integer interrupted invalid is kernel
    kernels killed left libraries library line load loaded loading lock lost mapping match memory mismatch missing
    module modules more most name named no not null number object occurred of on only open operation operations out
    overflow page permitted pipe platform pointer process processes raised read reason recent refused requested required
    reserved resource resources returned runtime segmentation shape shared signal size socket space stack string such
    support supported symbol system target temporarily tensor tensors terminated thread threads time timeout total
    traceback tried triggered type unable unavailable undefined unexpected unknown unspecified unsupported usage using
    value values version warning warnings while
    AMD API ARM ASCII BF16 CPU CSV CUBLAS CUDA CUDNN DICOM DLL Errno GB GDCM GPU GUI GiB HIP HTML ITK JSON KiB LPS MB
    MONAI MPS MRI MSVC MiB NIfTI NRRD NVIDIA NVML NaN OOM OpenMP PNG PyTorch Python RAM RAS RGB ROCm SCD SHA TF32 UTF
    VTK WinError ZIP
    Advanced Apple Apply Cast Dice Extensions File Input Inputs Intel Internal Linux Manager Outputs Overlay Permission
    Scalar Slicer Traceback Utils Volume Volumes Warning Windows
"""
# What sentences of libraries and systems begin with, and "Press Apply". None of these is a name.
_OTHER_BEGINNINGS = """
    Aborted Access Assertion Cannot Connection Could Expected Failed Illegal Insufficient Invalid Killed Mismatch
    Missing No Not Operation Press Segmentation Tensor Tensors The This Too Tried Unable Unexpected Unknown Unsupported
    Using
"""


def redact(message: str, names: Collection[str] = (), paths: Iterable[str | Path] = ()) -> str:
    """A message in which placeholders stand for everything that may be personal.

    Args:
        message: for a person, from this program or from a library.
        names: that shall not be in it: of volumes and other nodes.
        paths: of files and folders that may be in it; what follows an unknown path cannot be told from it and goes too.

    Returns:
        The message in one line, shortened to ``MAX_LENGTH``.
    """
    redaction = _Redaction()
    text = _PRIVATE.sub(" ", message[: 20 * MAX_LENGTH])
    for name in sorted({name for name in names if name.strip()}, key=len, reverse=True):
        if name in text:
            text = re.sub(_whole(name), lambda _: redaction.settle("<name>"), text)
    text = text[: 4 * MAX_LENGTH]  # only now, so that no name is cut
    for path in sorted({str(path) for path in paths if len(str(path)) > 1}, key=len, reverse=True):
        if path in text:
            text = re.sub(rf"{re.escape(path)}(?:[\\/][^\s\"':;,)]*)?", lambda found: redaction.path(found[0]), text)
    return redaction.finish(" | ".join(redaction.line(line) for line in text.splitlines() if line.strip()))


def _whole(name: str) -> str:
    """Pattern of a name that is not a part of a longer word."""
    before, after = (r"(?<!\w)" if re.match(r"\w", name) else ""), (r"(?!\w)" if re.search(r"\w$", name) else "")
    return f"{before}{re.escape(name)}{after}"


class _Redaction:
    """The rules for one message, and what they have settled of it."""

    def __init__(self) -> None:
        self._settled: list[str] = []

    def settle(self, piece: str) -> str:
        """A character that stands for a piece of the outcome."""
        if piece not in self._settled:
            self._settled.append(piece)
        return chr(_FIRST_PRIVATE + self._settled.index(piece))

    def line(self, line: str) -> str:
        """A line without what is not known to be harmless."""
        line = _ROW.sub(self._row, line)
        for harmless in (_FRACTION, _DIMENSIONS):
            line = harmless.sub(lambda found: self.settle(found[0]), line)
        line = _QUOTED.sub(self._quoted, self._without_paths(line))
        line = _WORD.sub(self._word, line)
        return "".join(c if " " <= c <= "~" or c in _SYMBOLS or _PRIVATE.match(c) else " " for c in line)

    def path(self, path: str) -> str:
        """What stands for a path: files of this program are known, of others the kind is told."""
        own = _OWN_SOURCE.search(path)
        if own is not None and any((folder / own[0].replace("\\", "/")).is_file() for folder in _INSTALLED):
            return self.settle(own[0].replace("\\", "/"))
        known = _KNOWN_END.match(path)
        return self.settle(f"<path>.{known[1].lower()}" if known and known.end() == len(path) else "<path>")

    def finish(self, text: str) -> str:
        """The outcome."""
        text = _PRIVATE.sub(lambda found: self._settled[ord(found[0]) - _FIRST_PRIVATE], text)
        text = _REPEATED.sub("<text>", text)
        return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 2]} …"

    def _without_paths(self, line: str) -> str:
        done = ""
        while (found := _PATH_START.search(line)) is not None:
            start = found.start()
            quote = line[start - 1] if start and line[start - 1] in "'\"" else ""
            close = re.search(rf"{quote}(?!\w)", line[start:]) if quote else None
            known = _KNOWN_END.match(line, start)
            # Without quotes or a known end, the rest of the line may belong to the path.
            end = start + close.start() if close else known.end() if known else len(line)
            done += line[:start] + self.path(line[start:end])
            line = line[end:]
        return done + line

    def _quoted(self, found: re.Match[str]) -> str:
        content = next(group for group in found.groups() if group is not None)
        if all(_PRIVATE.match(character) for character in content):
            return found[0]
        is_code = "_" in content and content in _known_words()
        is_safe = is_code or content in _SAFE_QUOTED.split() or _DEVICE.fullmatch(content)
        return self.settle(found[0] if is_safe else "<text>")

    def _row(self, found: re.Match[str]) -> str:
        row, before, after = found[0], found.string[: found.start()], found.string[found.end() :]
        parts = re.findall(_PART, row)
        if len(parts) < 3 and not _PERSONAL.search(row):
            counts = len(parts) == 1 or "/" in row
            harmless = counts and (_COUNTED.match(after) or _NUMBERED.search(before))
            if harmless or not re.search(r"\d{4}", row):
                return row
        return self.settle("<number>")

    def _word(self, found: re.Match[str]) -> str:
        word, before = found[0], found.string[: found.start()]
        if re.fullmatch(r"[0-9]+", word):  # the rows of numbers were judged before
            return word
        begins = word in _beginnings() and _SENTENCE_END.search(before)
        return word if begins or word in _known_words() else self.settle("<text>")


@cache
def _known_words() -> frozenset[str]:
    """Words of the source of the module and of the parts of the engine that it uses, and those of the list above.

    Nothing is known where the source is not there. Words in capitals, and those with a capital at the beginning, are
    known only from the list, so that words of everyday do not let through the names that they are also.
    """
    words: set[str] = set()
    for source in _sources():
        words.update(re.findall(r"[A-Za-z_]\w*", source, re.ASCII))
    own = {word for word in words if not (word.istitle() or (word.isupper() and "_" not in word))}
    errors = {name for name in dir(builtins) if name.endswith(("Error", "Exception", "Warning", "Interrupt"))}
    return frozenset(own | errors | {*_OTHER_WORDS.split()})


@cache
def _beginnings() -> frozenset[str]:
    """Words with a capital that sentences begin with: in the same source, and in the list above."""
    words = {*_OTHER_BEGINNINGS.split()}
    for source in (_NO_MESSAGE.sub("", source) for source in _sources()):
        words.update(word for literal in _LITERAL.findall(source) for word in _BEGINNING.findall(literal))
        words.update(word.title() for word in _ENGINES_BEGINNING.findall(source))
    return frozenset(words)


def _sources() -> Iterator[str]:
    folders = [module_dir() / "SCDSegmentationLib"]
    folders += [Path(__file__).parent / name for name in ("bundle", "inference", "volumes", "worker")]
    for file in (file for folder in folders for file in folder.glob("*.py")):
        yield file.read_text(encoding="utf-8", errors="replace")
