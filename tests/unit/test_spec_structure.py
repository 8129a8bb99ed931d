"""Structures: their plain forms, and what they refuse."""

import pytest

from graph_masker.errors import SpecError
from graph_masker.spec import NM, Block, Channel, Element, PruningSpec
from graph_masker.spec.structure import parse_structure, plain_structure

FORMS = [
    ("element", Element()),
    ("channel", Channel("l1")),
    ({"channel": "l2"}, Channel("l2")),
    ("2:4", NM(2, 4)),
    ("1:16", NM(1, 16)),
    ({"block": [4, 1]}, Block(4, 1)),
    ({"block": [-1, 2], "pooling": "max"}, Block(-1, 2, "max")),
    ({"block": [1, -1], "matrices_only": True}, Block(1, -1, matrices_only=True)),
]


@pytest.mark.parametrize("plain, structure", FORMS)
def test_forms_round_trip(plain, structure):
    assert parse_structure("structure", plain) == structure
    assert plain_structure(structure) == plain
    assert parse_structure("structure", structure) is structure


def test_other_spellings():
    assert parse_structure("structure", " 2 : 4 ") == NM(2, 4)
    assert parse_structure("structure", {"channel": "l1"}) == Channel()
    assert parse_structure("structure", {"block": (4, 1), "pooling": "avg"}) == Block(4, 1)


@pytest.mark.parametrize(
    "plain, message",
    [
        ("4:2", "structure: n:m: expected 1 <= n < m (n of every m are kept), found 4:2"),
        ("4:4", "structure: n:m: expected 1 <= n < m (n of every m are kept), found 4:4"),
        ("0:4", "structure: n:m: expected 1 <= n < m (n of every m are kept), found 0:4"),
        ("rows", "structure: expected element, channel, {channel: l2}, n:m such as 2:4, or {block: [height, width]}"),
        (124, "structure: expected element, channel"),
        (None, "structure: expected element, channel"),
        ({"rows": 2}, "structure: expected element, channel"),
        ({"channel": "l3"}, "structure: channel: expected l1 or l2, found 'l3'"),
        (
            {"channel": "l1", "block": [1, 2]},
            "structure: unknown key channel: allowed are block, pooling, matrices_only",
        ),
        ({"block": [4]}, "structure: block: expected [height, width], found [4]"),
        ({"block": 4}, "structure: block: expected [height, width], found 4"),
        ({"block": [0, 4]}, "structure: block: expected a height of at least 1, or -1 for the whole axis, found 0"),
        ({"block": [4, -2]}, "structure: block: expected a width of at least 1, or -1 for the whole axis, found -2"),
        ({"block": [4, 1.5]}, "structure: block: expected whole numbers for height and width, found 1.5"),
        ({"block": [4, True]}, "structure: block: expected whole numbers for height and width, found True"),
        ({"block": [4, 1], "pooling": "AVG"}, "structure: pooling: expected avg or max, found 'AVG'"),
        ({"block": [4, 1], "matrices_only": 1}, "structure: matrices_only: expected true or false, found 1"),
    ],
)
def test_a_bad_structure_is_refused(plain, message):
    with pytest.raises(SpecError) as caught:
        PruningSpec(0.5, 0, 10, structure=plain)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_n_of_m_says_its_sparsity():
    assert NM(2, 4).sparsity == 0.5
    assert NM(1, 3).sparsity == 2 / 3


def test_blocks_of_matrices_only_leave_kernels_of_convolutions_to_single_entries():
    shapes = [(8, 4), (1, 1, 8, 4), (3, 3, 8, 4), (1, 1, 1, 4), (8,)]
    assert [Block(2, 2, matrices_only=True).applies_to(shape) for shape in shapes] == [True, True, False, False, False]
    assert all(Block(2, 2).applies_to(shape) for shape in shapes)
