"""The plan of an epoch whose micro-batches hold pictures of one group."""

import numpy as np
import pytest

from convnext.data.plans import Share, TrainPlan, epoch_order, grouped


def plan(groups, *, rank=0, world_size=1, micro_batches=1, batch_size=8, seed=5):
    share = Share(rank=rank, world_size=world_size, micro_batches=micro_batches)
    groups = None if groups is None else np.array(groups)
    number = 40 if groups is None else len(groups)
    return TrainPlan(number, batch_size=batch_size, seed=seed, share=share, groups=groups)


def flat(lists):
    return [one for part in lists for one in part]


def pieces(made, epoch=0, first_step=0):
    return [[index for _, index in piece] for piece in made.epoch(epoch, first_step)]


@pytest.mark.parametrize("share_of_ones", [0.05, 0.3, 0.5])
@pytest.mark.parametrize(("world_size", "micro_batches"), [(1, 4), (4, 1), (2, 2), (1, 2), (1, 1)])
def test_micro_batches_hold_one_group_but_for_at_most_one_of_each_step(share_of_ones, world_size, micro_batches):
    groups = np.random.default_rng(1).random(43) < share_of_ones
    together = 8 // world_size // micro_batches
    for epoch in range(4):
        ranks = [
            pieces(plan(groups, rank=rank, world_size=world_size, micro_batches=micro_batches), epoch)
            for rank in range(world_size)
        ]
        steps = [
            [piece for rank in ranks for piece in rank[step * micro_batches : (step + 1) * micro_batches]]
            for step in range(5)
        ]
        expected = epoch_order(5, epoch, 43)[:40].reshape(5, 8)
        for step, batch in zip(steps, expected, strict=True):
            assert [len(piece) for piece in step] == [together] * (world_size * micro_batches)
            assert sum(len({bool(groups[index]) for index in piece}) > 1 for piece in step) <= 1
            # A step learns from the same pictures as without groups and in any number of pieces.
            assert sorted(flat(step)) == sorted(batch.tolist())


def test_an_epoch_with_groups_entered_anywhere_goes_on_as_the_whole_one():
    groups = np.random.default_rng(2).integers(3, size=43)
    whole = pieces(plan(groups, micro_batches=4))
    for first_step in range(6):
        assert pieces(plan(groups, micro_batches=4), 0, first_step) == whole[4 * first_step :]


@pytest.mark.parametrize("micro_batches", [1, 2, 8])
def test_one_group_is_as_none(micro_batches):
    assert pieces(plan([0] * 40, micro_batches=micro_batches)) == pieces(plan(None, micro_batches=micro_batches))


def test_the_order_inside_a_group_is_kept():
    order, groups = np.array([9, 4, 7, 1, 8, 2, 6, 3]), np.array([0, 1, 0, 0, 1, 0, 1, 0])
    assert grouped(order, groups, 2).tolist() == [9, 7, 4, 8, 1, 2, 6, 3]
    assert grouped(order, groups, 4).tolist() == [9, 7, 1, 2, 4, 8, 6, 3]
