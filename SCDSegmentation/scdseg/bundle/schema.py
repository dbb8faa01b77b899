"""What the metadata of a bundle must look like, as a JSON Schema."""

from __future__ import annotations

from functools import cache
from itertools import permutations, product
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from jsonschema.validators import extend

from scdseg.errors import ModelError

SCHEMA_VERSION = 1

_TEXT = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": r"^[^\n\r\t]*\Z"}
# Slicer joins the parts of a code with these two.
_CODE_TEXT = {**_TEXT, "pattern": r"^[^\n\r\t~^]*\Z"}
_NUMBER = {"type": "number", "minimum": -1e9, "maximum": 1e9}
_RATIO = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
_HEADS = {"type": "integer", "minimum": 1, "maximum": 64}
_WIDTH = {"type": "integer", "minimum": 6, "maximum": 4096}
_ORIENTATIONS = ["".join(axes) for order in permutations(("RL", "AP", "SI")) for axes in product(*order)]


def _object(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """An object with exactly these properties, all required but the optional ones."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [name for name in properties if name not in optional],
        "properties": properties,
    }


def _list(items: dict[str, Any], least: int, most: int) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


# Every size has an upper bound, so that no metadata file can ask for an absurd amount of memory or work.
_NETWORK = _object(
    {
        "in_channels": {"type": "integer", "minimum": 1, "maximum": 64},
        "out_channels": {"type": "integer", "minimum": 1, "maximum": 256},
        "img_size": _list({"type": "integer", "minimum": 8, "maximum": 512}, 3, 3),
        "patch_size": {"enum": [4, 8, 16]},
        "feature_size": {"type": "integer", "minimum": 1, "maximum": 128},
        "hidden_size": _WIDTH,
        "mlp_dim": {"type": "integer", "minimum": 1, "maximum": 16384},
        "num_layers": {"type": "integer", "minimum": 1, "maximum": 64},
        "num_heads": _HEADS,
        "prune_after": _list({"type": "integer", "minimum": 0, "maximum": 64}, 1, 16),
        "keep_ratio": {"anyOf": [_RATIO, _list(_RATIO, 1, 16)]},
        "assembly_size": _WIDTH,
        "assembly_layers": {"type": "integer", "minimum": 1, "maximum": 16},
        "assembly_heads": _HEADS,
        "decoder": {"enum": ["full", "shallow", "light"]},
        "stem": {"enum": ["linear", "convolutional", "narrow"]},
        "drop_path_rate": {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
        "token_head": {"type": "boolean"},
        "pruning": {"enum": ["stp", "stp_no_noise", "cls_attention", "random"]},
        "completion": {"enum": ["mta", "mask_tokens"]},
        "detail": {"enum": ["all", "kept"]},
        "decode_box": {"type": "boolean"},
    },
    optional=("token_head", "pruning", "completion", "detail", "decode_box"),  # models of before they existed have none
)

_INTENSITY_ARGUMENTS = {
    "clip_range": _object(dict.fromkeys(("a_min", "a_max", "b_min", "b_max"), _NUMBER)),
    "percentiles": _object(
        {
            "lower": {"type": "number", "minimum": 0, "maximum": 100},
            "upper": {"type": "number", "minimum": 0, "maximum": 100},
            "b_min": _NUMBER,
            "b_max": _NUMBER,
            "nonzero": {"type": "boolean"},
        }
    ),
    "zscore": _object({"nonzero": {"type": "boolean"}}),
}
_INTENSITY = {
    **_object({"name": {"enum": sorted(_INTENSITY_ARGUMENTS)}, "arguments": {"type": "object"}}),
    "allOf": [
        {"if": {"properties": {"name": {"const": name}}}, "then": {"properties": {"arguments": arguments}}}
        for name, arguments in _INTENSITY_ARGUMENTS.items()
    ],
}

_CODE = _object(dict.fromkeys(("scheme", "value", "meaning"), _CODE_TEXT))
LABELS_SCHEMA = _list(
    _object(
        {
            "value": {"type": "integer", "minimum": 1, "maximum": 255},
            "name": _TEXT,
            "color": _list({"type": "integer", "minimum": 0, "maximum": 255}, 3, 3),
            "channel": {"type": "integer", "minimum": 0, "maximum": 255},
            "category": _CODE,
            "type": _CODE,
            "type_modifier": _CODE,
            "region": _CODE,
        },
        optional=("type_modifier", "region"),
    ),
    1,
    255,
)

# Dice against truth by the way in which tokens are chosen: what the scores decide in this model.
_DICE = {"type": "number", "minimum": 0, "maximum": 1}
_TOKEN_CHOICE = _object(
    {
        "subject": _TEXT,
        "labels": _list(_TEXT, 1, 255),
        "rows": _list(
            _object(
                {"keep_ratio": _RATIO, **dict.fromkeys(("learned", "random", "inverted", "cls_attention"), _DICE)},
                optional=("inverted", "cls_attention"),
            ),
            1,
            16,
        ),
    }
)

_SCD = _object(
    {
        "schema_version": {"const": SCHEMA_VERSION},
        "network": _NETWORK,
        "preprocessing": _object(
            {
                "orientation": {"enum": _ORIENTATIONS},
                "spacing": _list({"type": "number", "minimum": 0.05, "maximum": 20}, 3, 3),
                "intensity": _list(_INTENSITY, 0, 8),
                "crop_foreground": {"type": "boolean"},
            }
        ),
        "inference": _object(
            {
                "overlap": {"type": "number", "minimum": 0, "maximum": 0.9},
                "keep_ratio": _RATIO,
                "keep_ratio_range": _list(_RATIO, 2, 2),
            }
        ),
        "output": _object({"activation": {"enum": ["softmax", "sigmoid"]}}),
        "channels": _list(_TEXT, 1, 64),
        "labels": LABELS_SCHEMA,
        "weights": _object(
            {
                "file": {"enum": ["models/model.safetensors", "models/model.pt"]},
                "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                "bytes": {"type": "integer", "minimum": 1},
            }
        ),
        "quality": {"type": "object", "properties": {"token_choice": _TOKEN_CHOICE}},
    },
    optional=("quality",),
)

# MONAI's own required keys, and the form of its tensor descriptions as far as it is fixed there.
_MONAI_TEXTS = (
    *("version", "monai_version", "pytorch_version", "numpy_version"),
    *("task", "description", "authors", "copyright"),
)
_MONAI_TENSORS = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "required": ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"],
    },
}
METADATA_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        **{key: {"type": "string", "minLength": 1, "maxLength": 5000} for key in _MONAI_TEXTS},
        "name": _TEXT,
        "required_packages_version": {"type": "object", "additionalProperties": {"type": "string"}},
        "network_data_format": {
            "type": "object",
            "required": ["inputs", "outputs"],
            "properties": {"inputs": _MONAI_TENSORS, "outputs": _MONAI_TENSORS},
        },
        "scd": _SCD,
    },
    "required": [*_MONAI_TEXTS, "required_packages_version", "network_data_format", "scd"],
}


# JSON Schema takes 3.0 for an integer; a network does not.
_Validator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)


@cache
def _validator(kind: str) -> Any:
    sections = {name: _SCD["properties"][name] for name in ("preprocessing", "inference")}
    return _Validator({"metadata": METADATA_SCHEMA, "labels": LABELS_SCHEMA, **sections}[kind])


def validate(document: Any, kind: str, path: Path) -> None:
    """Check a document against one of the schemas.

    Args:
        document: what ``scdseg.strict_json.read_json`` returned.
        kind: ``"metadata"`` for a bundle's metadata, ``"labels"`` for a list of labels, ``"preprocessing"`` or
            ``"inference"`` for one of the metadata's sections.
        path: the file, for the message.

    Raises:
        ModelError: naming the first place that breaks the schema.
    """
    scd = document.get("scd") if isinstance(document, dict) else None
    version = scd.get("schema_version") if isinstance(scd, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ModelError(
            f"{path}: written for a newer scdseg (bundle schema {version}); update scdseg to use this model"
        )
    if kind == "metadata" and isinstance(document, dict) and scd is None:
        raise ModelError(
            f"{path}: has no key 'scd', so it is not a model of scdseg; `scdseg export` writes such bundles"
        )
    error = best_match(_validator(kind).iter_errors(document))
    if error is not None:
        message = error.message if len(error.message) <= 300 else f"{error.message[:300]}…"
        place = error.json_path.removeprefix("$").lstrip(".")[:200] or "the whole file"
        raise ModelError(f"{path}: {place}: {message}; get the file again or correct it")
