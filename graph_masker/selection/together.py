"""One selection over many weights, without ever laying them end to end.

Each weight counts its units by the leading bits of their scores. The sum of these counts tells in which bin the last
unit that stays lies; each weight hands over the few units that it has there; among these alone the selection is made,
and each weight learns how many of its own stay. Per weight that is three calls of graph functions.
"""

import contextlib
from dataclasses import dataclass
from typing import Any, Callable, ContextManager, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.errors import UsageError
from graph_masker.selection import radix
from graph_masker.selection.counts import kept_units
from graph_masker.selection.finite import all_finite
from graph_masker.selection.keys import Width, from_key, width_of
from graph_masker.selection.masks import mask_of
from graph_masker.selection.pieces import Extent, Keys
from graph_masker.selection.scanning import in_range
from graph_masker.selection.search import kth_of
from graph_masker.selection.structures import Elements, Selected, UnitStructure

# Bins that are added up at once.
_GROUP = 128


@dataclass(frozen=True)
class Member:
    """What is known of a weight when the graph is built. Weights of equal members share their graph functions.

    Attributes:
        structure: its units.
        dtype: of its scores.
        mask_dtype: of mask and threshold.
        signed: False ranks by magnitude, True ranks scores with their signs.
        extent: how many units there may be.
    """

    structure: UnitStructure
    dtype: Any
    mask_dtype: Any
    signed: bool = False
    extent: Extent = Extent.LARGE

    @property
    def width(self) -> Width:
        """What kind of integers stand for its scores."""
        return width_of(self.dtype)

    def count(self, entries: Any) -> Tuple[Any, Any, Any]:
        """Counts the units of a weight by their leading bits.

        Args:
            entries: what the entries are scored by, in the shape of the weight.

        Returns:
            Scores of the units, a vector; the counts, int32 [bins]; whether all entries are finite, a bool scalar.
        """
        scores = self.structure.scores(entries, self.signed)
        with tf_compat.first_control_flow():
            counts = radix.histogram(self._keys(scores))
            if not self.signed and isinstance(self.structure, Elements):
                return scores, counts, radix.none_infinite(counts, self.width)
            return scores, counts, all_finite(entries)

    def contend(self, scores: Any, place: Any) -> Tuple[Any, Any]:
        """Finds the units that may or may not stay.

        Args:
            scores: of the units.
            place: its row of what `places` returned.

        Returns:
            Their keys; and these as they contend with those of other weights: the highest where they must stay,
            the lowest where they cannot.
        """
        width = self.width
        low, high = self._range(place)
        keys = self._keys(scores)
        with tf_compat.first_control_flow():
            found = in_range(keys, low - 1, high)
        must, may = place[1], place[2] > 0
        lowest, highest = (tf.constant(key, width.whole) for key in (width.lowest, width.highest))
        last = kth_of(found, 0, must, width)
        equal = tf.equal(found, last.key)
        must_stay = (found > last.key) | (equal & (tf.cumsum(tf.cast(equal, tf.int32)) <= must - last.above))
        others = tf.where_v2(may, found, lowest)
        return found, tf.where_v2(must_stay, highest, others)

    def finish(self, entries: Any, scores: Any, found: Any, place: Any, staying: Any, common: Any) -> Selected:
        """Makes the mask.

        Args:
            entries: as for `count`.
            scores: of the units.
            found: keys that `contend` found.
            place: as for `contend`.
            staying: int32 scalar, how many of them stay.
            common: the lowest key that stays for what it is worth.
        """
        width = self.width
        _, high = self._range(place)
        last = kth_of(found, 0, staying, width)
        # Where none of them stays, all that lie above do.
        key = tf.minimum(last.key, high + 1)
        with tf_compat.first_control_flow():
            mask = mask_of(self._keys(scores), key, staying - last.above, last.equal, self.mask_dtype)
        lowest = tf_compat.choose(tf.size(scores) > 0, tf.minimum(key, common), tf.zeros_like(key))
        threshold = self.structure.threshold(from_key(lowest, self.signed))
        units = place[3] + staying
        return Selected(self.structure.spread(mask, entries), tf.cast(threshold, self.mask_dtype), units)

    def _keys(self, scores: Any) -> Keys:
        return Keys(scores, self.signed, self.extent)

    def _range(self, place: Any) -> Tuple[Any, Any]:
        index, width = place[0], self.width
        return radix.lowest_of_bin(index, width, self.signed), radix.highest_of_bin(index, width, self.signed)


class Places(NamedTuple):
    """Where each of some weights is to look for the last of its units that stay.

    Attributes:
        each: int32 [weights, 4]: the bin; how many of its best units must stay; whether the others may; how many units
            lie above it, which stay.
        found: int32 [weights], how many units a weight has in its bin.
        left: int64 scalar, how many units of all these bins stay.
    """

    each: Any
    found: Any
    left: Any


def places(counts: Sequence[Any], sparsity: Any, least: Optional[Any] = None, most: Optional[Any] = None) -> Places:
    """Finds the bins in which selection takes place.

    Args:
        counts: what `Member.count` returned, int32 [bins] of each weight.
        sparsity: float32 scalar, fraction of zeros among all units.
        least: int32 [weights], how many units each keeps whatever the others hold (at least 1); None for 1.
        most: int32 or int64 scalar, keep no more units in all than this, though at least these; None for no ceiling.
    """
    groups = tf.reshape(tf.stack(counts), [len(counts), -1, _GROUP])
    sums = tf.reduce_sum(groups, 2)
    units = tf.reduce_sum(sums, 1)
    floors = tf.minimum(tf.maximum(1, tf.ones_like(units) if least is None else least), units)
    kept = kept_units(tf.reduce_sum(tf.cast(units, tf.int64)), sparsity, most)
    kept = tf.maximum(kept, tf.reduce_sum(tf.cast(floors, tf.int64)))
    rows = tf.range(len(counts))

    def last(numbers: Any, wanted: Any, axis: int) -> Any:
        return tf.reduce_sum(tf.cast(numbers >= wanted, tf.int32), axis) - 1

    def staying(from_here: Any) -> Any:
        """Returns, for each column, how many units stay if those of this column and all above do."""
        return tf.reduce_sum(tf.cast(tf.maximum(from_here, floors[:, tf.newaxis]), tf.int64), 0)

    def in_group(index: Any) -> Any:
        """Returns, for each bin of a group per weight, how many units lie in it or above."""
        where = tf.stack([rows, index], 1)
        above = tf.gather_nd(from_group - sums, where)
        return above[:, tf.newaxis] + tf.cumsum(tf.gather_nd(groups, where), 1, reverse=True)

    # In two steps, groups of bins and the bins of one: a running sum over all bins takes longer than counting.
    from_group = tf.cumsum(sums, 1, reverse=True)
    group = last(staying(from_group), kept, 0)
    common = group * _GROUP + last(staying(in_group(tf.fill([len(counts)], group))), kept, 0)
    own_group = last(from_group, floors[:, tf.newaxis], 1)
    own = own_group * _GROUP + last(in_group(own_group), floors[:, tf.newaxis], 1)
    # A weight of few good units has its own bin, for those that it must keep; no other of its units stays.
    index = tf.minimum(common, own)
    number = tf.gather_nd(tf.reshape(groups, [len(counts), -1]), tf.stack([rows, index], 1))
    above = tf.gather_nd(in_group(index // _GROUP), tf.stack([rows, index % _GROUP], 1)) - number
    must = tf.maximum(floors - above, 0)
    each = tf.stack([index, must, tf.cast(tf.equal(index, common), tf.int32), above], 1)
    return Places(each, number, kept - tf.reduce_sum(tf.cast(above, tf.int64)))


def shares(contenders: Sequence[Any], found: Places, width: Width) -> Tuple[Any, Any]:
    """Selects among the units that may or may not stay.

    Args:
        contenders: what `Member.contend` returned, keys of each weight.
        found: what `places` returned.
        width: of the keys.

    Returns:
        int32 [weights], how many stay; and the lowest key that stays for what it is worth.
    """
    keys = tf.concat(contenders, 0)
    last = kth_of(keys, 0, tf.cast(found.left, tf.int32), width)
    equal = tf.equal(keys, last.key)
    room = tf.cast(found.left, tf.int32) - last.above
    stays = (keys > last.key) | (equal & (tf.cumsum(tf.cast(equal, tf.int32)) <= room))
    # One sum more than there are keys: how many stay before each of them, and of all.
    before = tf.concat([[0], tf.cumsum(tf.cast(stays, tf.int32))], 0)
    ends = tf.cumsum(found.found)
    return tf.gather(before, ends) - tf.gather(before, ends - found.found), last.key


# Makes a graph function of a body: (name, body, types of its inputs) -> function.
Outline = Callable[[str, Callable[..., Any], Sequence[Any]], Callable[..., Any]]


def _outlined(name: str, body: Callable[..., Any], types: Sequence[Any]) -> Callable[..., Any]:
    return tf_compat.outlined(body, types)


def select_together(
    entries: Sequence[Any],
    members: Sequence[Member],
    sparsity: Any,
    least: Optional[Any] = None,
    most: Union[Any, Callable[[], Any]] = None,
    outline: Outline = _outlined,
    beside: Optional[Sequence[Callable[[], ContextManager[Any]]]] = None,
) -> Tuple[List[Selected], Any]:
    """Keeps the best units of all weights together, exactly as many as a sparsity asks for.

    Of each weight at least some stay, whatever the others hold; if these are more than the sparsity allows, they alone.
    Of equal scores the weight that comes first, then the index of the unit, comes first.

    Args:
        entries: what the entries of each weight are scored by, in its shape.
        members: what is known of each.
        sparsity: float32 scalar, fraction of zeros among all units.
        least: int32 [weights], how many units of each stay in any case (at least 1); None for 1.
        most: int32 or int64 scalar, or a function that returns it and is asked when all weights have been counted:
            keep no more units in all than this, though at least these; None for no ceiling.
        outline: makes graph functions; equal members share them.
        beside: a context per weight, in which what concerns this weight alone is built.

    Returns:
        Masks and thresholds; and whether all entries are finite, bool [weights]: masks mean nothing where one is not.
        The threshold is that of the units that stay for what they are worth; a weight that has none but those that
        must stay has its own.

    Raises:
        UsageError: scores are float64 in some weights only, or have signs in some only.
    """
    if len(entries) != len(members) or not members:
        raise UsageError(f"expected one member per weight and at least one, found {len(members)} for {len(entries)}")
    kinds = {(member.width, member.signed) for member in members}
    if len(kinds) > 1:
        raise UsageError(
            "weights selected together: expected scores of one kind, found float64 beside narrower ones, or scores "
            "with signs beside magnitudes; put them into groups of their own"
        )
    contexts = beside or [contextlib.suppress] * len(members)
    width = members[0].width
    functions: Dict[Any, Callable[..., Any]] = {}

    def call(step: str, member: Member, *inputs: Any) -> Any:
        key = (step, member)
        if key not in functions:
            functions[key] = outline(step, getattr(member, step), [value.dtype for value in inputs])
        return functions[key](*inputs)

    def each(step: str, *columns: Sequence[Any]) -> List[Any]:
        results = []
        for member, context, *inputs in zip(members, contexts, *columns):
            with context():
                results.append(call(step, member, *inputs))
        return results

    scores, counts, finite = zip(*each("count", entries))
    where = places(counts, sparsity, least, most() if callable(most) else most)
    place = tf.unstack(where.each, len(members))
    found, contenders = zip(*each("contend", scores, place))
    staying, common = shares(contenders, where, width)
    number, commons = tf.unstack(staying, len(members)), [common] * len(members)
    selected = [Selected(*result) for result in each("finish", entries, scores, found, place, number, commons)]
    return selected, tf.stack(finite)
