"""Cards: what is written is read again, and damage is one sentence that names the field."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Card, ModelError, ProposalCard

MakeCard = Callable[..., Card]
OPTIONAL = {"islands", "runtime", "plan_sha256"}


def test_a_card_reads_what_it_wrote(make_card: MakeCard) -> None:
    """JSON and back is the same card, indented or not."""
    card = make_card(runtime={"flavour": "x"}, scales=[0.25, 1, 2.5])
    for indent in (None, 2):
        assert Card.from_json(card.to_json(indent), "here") == card


@pytest.mark.parametrize("name", [f.name for f in fields(ProposalCard)])
@pytest.mark.parametrize("value", [None, [], {"a": 1}, "", -1, True, float("nan"), "x" * 99, [[]]])
def test_a_wrong_value_names_its_field(make_card: MakeCard, name: str, value: object) -> None:
    """A field of a wrong kind is refused by name, unless the value is a right one for it."""
    content = asdict(make_card()) | {name: value}
    try:
        read = Card.from_json(json.dumps(content), "model.onnx")
    except ModelError as error:
        assert "model.onnx" in str(error)  # noqa: PT017
        assert name in str(error)  # noqa: PT017
        assert "export the model again" in str(error)  # noqa: PT017
    else:
        right = [("", str), ("x" * 99, str), ([], list)]
        assert (value, type(getattr(read, name))) in right


@pytest.mark.parametrize("name", [f.name for f in fields(ProposalCard)])
def test_a_missing_field_is_named(make_card: MakeCard, name: str) -> None:
    """Only what a plan adds may be missing."""
    content = asdict(make_card())
    del content[name]
    if name in OPTIONAL:
        Card.from_json(json.dumps(content), "x")
    else:
        with pytest.raises(ModelError, match=name):
            Card.from_json(json.dumps(content), "x")


def test_newer_formats_and_unknown_fields(make_card: MakeCard) -> None:
    """A newer format is refused with advice; a field that is not known is passed over."""
    content = asdict(make_card())
    with pytest.raises(ModelError, match="format 2 and this MaskRT reads format 1"):
        Card.from_json(json.dumps(content | {"format": 2}), "x")
    assert Card.from_json(json.dumps(content | {"colour": 1}), "x") == make_card()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([f.name for f in fields(ProposalCard)]) | st.text(), inner
        )
    ),
    max_leaves=12,
)


@given(json_values | st.text())
def test_any_json_is_a_card_or_a_model_error(value: object) -> None:
    """Whatever stands in a file's metadata, nothing but a ModelError comes of it."""
    text = value if isinstance(value, str) else json.dumps(value)
    with pytest.raises(ModelError):
        Card.from_json(text, "x")
