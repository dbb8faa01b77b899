"""Redaction: what comes out of a message is what the program itself says, whatever was put into it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scdseg.redaction import MAX_LENGTH, redact

NAMES = ["SECRETNAME", "SECRETNAME JOHN", "it's <b>", "Müller, Änne", "体积 患者", "a(b)[c]*", "x\\y/z", "T1"]
KEPT = {
    "The volume 'SECRETNAME' has no image data: load it again or select another volume.": (
        "The volume '<name>' has no image data: load it again or select another volume."
    ),
    "The volume 'SECRETNAME JOHN' is a single slice: select a 3-D volume.": (
        "The volume '<name>' is a single slice: select a 3-D volume."
    ),
    "Volume 'it's <b>' is empty": "Volume '<name>' is empty",
    "Volume 'Müller, Änne' is empty": "Volume '<name>' is empty",
    "Volume '体积 患者' is empty": "Volume '<name>' is empty",
    "Volume 'a(b)[c]*' is empty": "Volume '<name>' is empty",
    "Volume 'x\\y/z' is empty": "Volume '<name>' is empty",
    "Volume 'unknown to us' is empty": "Volume <text> is empty",
    "T1: 3 voxels were NaN or infinite": "<name>: 3 voxels were NaN or infinite",
    "device 'cuda' is not available": "device 'cuda' is not available",
    "KeyError: 'prune_after'": "KeyError: 'prune_after'",
    "ValueError: could not convert string to float: 'Doe'": "ValueError: could not convert string to float: <text>",
    "CUDA out of memory. Tried to allocate 2.00 GiB.": "CUDA out of memory. Tried to allocate 2.00 GiB.",
    "window 12/64, keep ratio 0.25": "window 12/64, keep ratio 0.25",
    "Segmentation fault (core dumped)": "Segmentation fault (core dumped)",
    '  File "/home/x/site-packages/scdseg/worker/service.py", line 84, in serve': (
        "  File \"scdseg/worker/service.py\", line 84, in serve"
    ),
    '  File "C:\\Users\\x\\SCDSegmentationLib\\panel.py", line 84, in onApply': (
        "  File \"SCDSegmentationLib/panel.py\", line 84, in onApply"
    ),
    '  File "/home/x/scdseg/worker/john.py", line 1': '  File "<path>.py", line 1',
    "/data/JOHN DOE/t1.nii.gz is damaged or cut short (EOF): export it": (
        "<path>.nii.gz is damaged or cut short (<text>): export it"
    ),
    "/data/JOHN DOE holds no DICOM series: give the folder": "<path>",
    "\\\\server\\share\\Doe, John\\scan 1.nrrd is empty": "<path>.nrrd is empty",
    "C:\\Patients\\John Doe\\1.dcm is empty": "<path>.dcm is empty",
    "cannot be opened: 'C:\\Patients\\John Doe' (No such file)": "cannot be opened: '<path>' (No such file)",
    "~/john/doe.mha is empty": "<path>.mha is empty",
    "john/doe.txt": "<path>",
    "file:///home/john/a.nii is empty": "<text><path>.nii is empty",
    "PatientName DOE^JOHN": "<text>",
    "born 1962-03-04, 04.03.1962 or 3/4/1962, id 123456": (
        "<text> <number>, <number> or <number>, id <number>"
    ),
    "uid 1.2.840.113619.2.55.3 of 123-45-6789": "<text> <number> of <number>",
    "first line\nsecond line /a": "first line | second line <path>",
    "id 1961_03_12, 1961 03 12, 12:03:1961, 12 / 03 / 1961 or 12. 3. 1961": (
        "id <number>, <number>, <number>, <number> or <number>"
    ),
    "id 12345, 123 45 6789, 1961/03, 03/1961, 1961-03 or 1961.03": (
        "id <number>, <number>, <number>, <number>, <number> or <number>"
    ),
    "48213.dcm": "<number>.dcm",
    "12345_t1 and ID12345": "<number><text> and <text><number>",
    "03/61 is": "<path>",
    "Error: Mark": "<text>",
    "Case: Best": "<text>",
    "Black": "<text>",
    "Long May, Will Green (Young): Rose": "<text>",
    "the volume of BLACK^LONG is empty": "the volume of <text> is empty",
    "window Best is not Black": "window <text> is not <text>",
    "larger than the 1048576 bytes that a file may have": "larger than the 1048576 bytes that a file may have",
    "needs about 1234.5 GB, but 2000 MB are free": "needs about 1234.5 GB, but 2000 MB are free",
    "1000 × 1000 × 1000 voxels in 4096 windows of 1000 tokens": (
        "1000 × 1000 × 1000 voxels in 4096 windows of 1000 tokens"
    ),
    "windows 0/1234": "windows 0/1234",
    "[WinError 1455] No memory": "[WinError 1455] No memory",
    "[Errno 28] No space left on device": "[Errno 28] No space left on device",
    '  File "/home/x/torch/nn/module.py", line 1518, in call': '  File "<path>.py", line 1518, in call',
    "torch 2.11.0 with MONAI and CUDA of NVIDIA": "torch 2.11.0 with MONAI and CUDA of NVIDIA",
    "Memory ran out while computing on cuda:0: close it": "Memory ran out while computing on cuda:0: close it",
    "Install PyTorch again. Press Apply": "Install PyTorch again. Press Apply",
    "“John Doe” and `John`": "<text> and <text>",
    "\ue000 and \ue005": "  and  ",
}  # fmt: skip


@pytest.mark.parametrize("message", KEPT)
def test_names_paths_and_unknown_words_are_replaced_and_the_rest_stays(message: str) -> None:
    assert redact(message, NAMES) == KEPT[message]


def test_a_known_path_takes_no_more_with_it_than_what_lies_below() -> None:
    message = "The temporary folder /tmp/Mark Young/x has 12 MB left, but 99 MB are needed"
    assert (
        redact(message, (), ["/tmp/Mark Young"]) == "The temporary folder <path> has 12 MB left, but 99 MB are needed"
    )


def test_a_long_message_is_shortened() -> None:
    assert len(redact("the volume is empty " * 1000)) == MAX_LENGTH


def test_names_that_are_parts_of_words_are_left() -> None:
    assert redact("the volume is empty", ["e", "vol"]) == "the volume is empty"


# Templates of the module's and the engine's messages, with a place for what comes from outside.
TEMPLATES = (
    "The volume '{}' is a map of token importance: select an image.",
    "{}: The volume '{}' has no image data: load it again or select another volume.",
    "The model '{}' is no longer there ({}): choose another model.",
    "The temporary folder {} has 3 MB left, but 9 MB are needed: free disk space.",
    "Temporary files cannot be written to {} (No space left on device): free disk space.",
    "Slicer's Python ({}) was not found, so the segmentation process cannot start: install Slicer again.",
    "The segmentation process sent what cannot be understood ({!r}) and was stopped.",
    "Internal error: KeyError: {!r}",
    "The segmentation process ended unexpectedly. Its last words: {}",
    "{} holds no DICOM series: give the folder that the DICOM files lie in, or a volume file",
    "{} lacks slices: two neighbours are 5 mm apart, the others 2.5 mm: copy the whole series",
    "{} is damaged or cut short ({}): copy or export it again",
    "There is no model '{}'; there are: {}.",
    "GDCM warning: (0010,0010) PN [{}] is not valid",
    '  File "{}", line 3, in {}',
    "{}",
)
LETTERS = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyzABCDEFGäÖßéñ体患фй"), min_size=1, max_size=6)
WORDS = LETTERS.map(lambda text: f"zqx{text}")
SEPARATORS = st.sampled_from(
    [" ", "'", '"', "/", "\\", "^", ".", "-", ", ", "(", ")", ": ", "_", "\n", "<", "&", "~", ""]
)
PLACES = ("{}", "/data/{}", "/data/{}/t1.nii.gz", "C:\\{}\\x", "\\\\{}\\share\\{}", "../{}", "file:///{}", "~/{}.nrrd")
# Surnames and given names that are words of everyday, or of this program, too.
NAMES_AND_WORDS = """
    Ash Banks Bell Best Bishop Black Block Bond Brown Bush Case Chance Child Close Cook Cross Day Drew Driver Fields
    Frank Free Gray Green Hill House Hunter King Lane Light Little Long Major Mark Mask Masters May Miles Million Moon
    Page Park Parks Pace Pierce Price Reader Rich Root Rose Sharp Short Singer Sky Small Stone Street Strong Summer
    Value Wall Walker Ward Waters Weeks White Will Win Winter Wise Wood Young
"""
DAY, YEAR = st.integers(1, 28).map(lambda day: f"{day:02}"), st.integers(1900, 2030).map(str)
DATES = st.tuples(st.permutations([0, 1, 2]), DAY, DAY, YEAR, st.sampled_from([*"_ -:/.", " / ", ". ", " - ", ""])).map(
    lambda drawn: drawn[4].join(drawn[1:4][place] for place in drawn[0])
)
MONTHS = st.tuples(YEAR, st.sampled_from("_ -:/."), DAY).map("".join)
IDENTIFIERS = st.from_regex(r"[1-9]\d{3,11}|\d{3}[ _-]\d{2}[ _-]\d{4}", fullmatch=True).filter(str.isascii)


@st.composite
def secrets(draw: st.DrawFn) -> str:
    return "".join(draw(WORDS) + draw(SEPARATORS) for _ in range(draw(st.integers(1, 4))))


@st.composite
def names_and_numbers(draw: st.DrawFn) -> str:
    names = st.sampled_from(NAMES_AND_WORDS.split()).flatmap(lambda name: st.sampled_from([name, name.upper()]))
    pieces = st.one_of(names, DATES, MONTHS, IDENTIFIERS, WORDS)
    return "".join(draw(pieces) + draw(SEPARATORS) for _ in range(draw(st.integers(1, 3))))


@settings(max_examples=400, deadline=None, database=None)
@given(secrets(), st.sampled_from(TEMPLATES), st.sampled_from(PLACES), st.booleans())
def test_no_part_of_a_secret_comes_out_of_any_message_whether_it_is_known_or_not(
    secret: str, template: str, place: str, known: bool
) -> None:
    outside = place.format(secret, secret)
    message = template.format(outside, outside, outside)
    assert "zqx" not in redact(message, [secret] if known else []).lower()


@settings(max_examples=1000, deadline=None, database=None)
@given(names_and_numbers(), st.sampled_from(TEMPLATES), st.sampled_from(PLACES), st.booleans())
def test_no_date_no_identifier_and_no_name_that_is_a_word_comes_out_of_any_message(
    secret: str, template: str, place: str, known: bool
) -> None:
    outside = place.format(secret, secret)
    outcome = redact(template.format(outside, outside, outside), [secret] if known else [])
    assert "zqx" not in outcome.lower()
    assert not re.search(r"\d{4}|\d[_ :/.-]+\d+[_ :/.-]+\d", outcome)
    assert not {word.title() for word in re.findall("[A-Z][A-Za-z]+", outcome)} & {*NAMES_AND_WORDS.split()}


def test_no_sentence_of_this_program_begins_with_a_name() -> None:
    """Or that name would come out at the beginning of every sentence."""
    from scdseg.redaction import _beginnings, _known_words

    names = {*NAMES_AND_WORDS.split()}
    assert not names & (_beginnings() | _known_words())
    assert not {name.upper() for name in names} & _known_words()


@settings(max_examples=300, deadline=None, database=None)
@given(st.text(max_size=300), st.lists(st.text(max_size=8), max_size=4))
def test_whatever_comes_in_one_short_line_of_known_words_comes_out(text: str, names: list[str]) -> None:
    from scdseg.redaction import _beginnings, _known_words

    outcome = redact(text, names)
    assert len(outcome) <= MAX_LENGTH
    assert "\n" not in outcome
    words = re.findall(r"\w*[^\W\d_]\w*", re.sub(r"<(name|path|text|number)>", " ", outcome))
    assert all(word in _known_words() | _beginnings() or word in ("nii", "gz") for word in words)
    assert not re.search(r"[0-9]{4}(?! [a-zA-Z]| ?×)", outcome)
