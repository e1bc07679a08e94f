"""Batches are formed from the list alone, and finished ones survive an interruption."""

import pytest

from autocontrastive_gen.generation.batches import in_batches, pad, plan_batches


def test_batches_hold_similar_lengths_and_every_text_once():
    lengths = [3, 9, 4, 9, 1, 7]
    batches = plan_batches(lengths, 2)
    assert batches == [[1, 3], [5, 2], [0, 4]]
    assert sorted(sum(batches, [])) == list(range(6))


def double(batch):
    return [{"value": 2 * item} for item in batch]


def run(work, items, **options):
    return in_batches(items, items, 2, work, tokens=1, title="test", **options)


def test_a_later_call_reads_finished_batches_back(tmp_path):
    items, seen = [5, 1, 4, 2, 3], []

    def stops_at_the_last(batch):
        seen.append(batch)
        if 1 in batch:
            raise KeyboardInterrupt
        return double(batch)

    with pytest.raises(KeyboardInterrupt):
        run(stops_at_the_last, items, keep=tmp_path)
    assert seen == [[5, 4], [3, 2], [1]]
    again = []
    rows = run(lambda batch: again.append(batch) or double(batch), items, keep=tmp_path)
    assert again == [[1]]
    assert rows == double(items)


def test_padding_on_either_side():
    import torch

    ids, mask = pad([[1, 2, 3], [4]], 9, "left", torch.device("cpu"))
    assert ids.tolist() == [[1, 2, 3], [9, 9, 4]] and mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    ids, mask = pad([[1, 2, 3], [4]], 9, "right", torch.device("cpu"))
    assert ids.tolist() == [[1, 2, 3], [4, 9, 9]] and mask.tolist() == [[1, 1, 1], [1, 0, 0]]
