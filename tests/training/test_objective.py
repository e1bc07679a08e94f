"""Chunked losses against plain backpropagation; the sample's estimate of the partition function."""

import pytest
import torch
import torch.nn.functional as F

from autocontrastive_gen.training import objective
from autocontrastive_gen.training.objective import (
    SAMPLE_MULTIPLE,
    Projection,
    cross_entropy,
    distillation,
    over_sample,
    sample_vocabulary,
    sampled_cross_entropy,
    sampled_distillation,
)

ROWS, WIDTH, VOCABULARY = 23, 6, 31
SHAPES = [{}, {"scale": 0.5}, {"soft_cap": 2.0}, {"scale": 3.0, "soft_cap": 1.5}]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(objective, "CHUNK_BYTES", 4 * VOCABULARY * 5)  # 5 rows: the last chunk is not full
    monkeypatch.setattr(objective, "NARROW_BYTES", 2 * VOCABULARY * 9)
    monkeypatch.setattr(objective, "SOFTMAX_BYTES", 4 * VOCABULARY * 2)
    monkeypatch.setattr(objective, "GRADIENT_ROWS", 7)


def make(bias: bool, **shape):
    torch.manual_seed(1)
    states = torch.randn(ROWS, WIDTH, requires_grad=True)
    weight = torch.randn(VOCABULARY, WIDTH, requires_grad=True)
    offset = torch.randn(VOCABULARY, requires_grad=True) if bias else None
    labels = torch.randint(VOCABULARY, (ROWS,))
    return states, Projection(weight, offset, **shape), labels


def gradients(loss, states, head):
    tensors = [tensor for tensor in (states, head.weight, head.bias) if tensor is not None]
    return torch.autograd.grad(loss * 0.37, tensors)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_chunked_cross_entropy_is_plain_cross_entropy(shape, bias):
    states, head, labels = make(bias, **shape)
    plain = F.cross_entropy(head(states), labels, reduction="sum")
    chunked = cross_entropy(states, head, labels)
    torch.testing.assert_close(chunked, plain)
    for ours, theirs in zip(gradients(chunked, states, head), gradients(plain, states, head), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_chunked_distillation_is_plain_divergence(shape):
    states, head, _ = make(bias=False, **shape)
    teacher_states, teacher = torch.randn(ROWS, WIDTH), Projection(torch.randn(VOCABULARY, WIDTH), **shape)
    target = F.log_softmax(teacher(teacher_states), -1)
    plain = F.kl_div(F.log_softmax(head(states), -1), target, reduction="sum", log_target=True)
    chunked = distillation(states, head, teacher_states, teacher)
    torch.testing.assert_close(chunked, plain)
    for ours, theirs in zip(gradients(chunked, states, head), gradients(plain, states, head), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_divergence_from_itself_is_zero():
    states, head, _ = make(bias=False)
    assert abs(distillation(states, head, states, head).item()) < 1e-4


@pytest.mark.parametrize("teacher", [False, True])
def test_bf16_products_stay_near(teacher):
    states, head, labels = make(bias=True, scale=0.5, soft_cap=3.0)
    target = (torch.randn(ROWS, WIDTH), Projection(torch.randn(VOCABULARY, WIDTH)))

    def loss(bf16):
        return distillation(states, head, *target, bf16) if teacher else cross_entropy(states, head, labels, bf16)

    full, narrow = loss(False), loss(True)
    assert narrow.item() == pytest.approx(full.item(), rel=0.005)
    for ours, theirs in zip(gradients(narrow, states, head), gradients(full, states, head), strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() < 0.02 * theirs.norm()


def test_a_frozen_matrix_is_narrowed_once_and_a_trained_one_each_time():
    _, head, _ = make(bias=False)
    frozen = Projection(head.weight.detach().clone())
    assert frozen.matrix(torch.bfloat16) is frozen.matrix(torch.bfloat16)
    before = head.matrix(torch.bfloat16)
    head.weight.data.mul_(2)
    assert torch.equal(head.matrix(torch.bfloat16), before * 2)
    assert head.matrix(torch.float32).data_ptr() == head.weight.data_ptr()


def test_a_frozen_head_gets_no_gradient_and_no_grad_mode_needs_none():
    states, head, labels = make(bias=False)
    frozen = Projection(head.weight.detach())
    loss = cross_entropy(states, frozen, labels)
    loss.backward()
    assert states.grad is not None
    with torch.no_grad():
        assert not cross_entropy(states, head, labels).requires_grad


def test_partition_function_of_the_sample_is_unbiased():
    torch.manual_seed(2)
    logits, labels = torch.randn(VOCABULARY, dtype=torch.float64) * 2, torch.tensor([3, 3, 17])
    generator = torch.Generator().manual_seed(0)
    estimates = []
    for _ in range(4000):
        sample = sample_vocabulary(labels, torch.tensor([0, 3, 5]), 6, VOCABULARY, generator)
        estimates.append((logits[sample.ids] + sample.correction.double()).exp().sum())
    estimates = torch.stack(estimates)
    error = estimates.std() / len(estimates) ** 0.5
    assert abs(estimates.mean() - logits.exp().sum()) < 4 * error
    assert error < 0.05 * logits.exp().sum()


def test_sample_holds_frequent_tokens_labels_and_distinct_negatives():
    labels = torch.tensor([9, 9, 30])
    sample = sample_vocabulary(labels, torch.tensor([0, 1]), 7, VOCABULARY, torch.Generator().manual_seed(3))
    assert sample.ids.tolist() == sorted(set(sample.ids.tolist()))
    assert {0, 1, 9, 30} <= set(sample.ids.tolist()) and len(sample.ids) == 4 + 7
    assert sample.ids[sample.positions(labels)].tolist() == labels.tolist()
    assert (sample.correction > 0).sum() == 7


def test_large_samples_have_few_sizes():
    """As many negatives as asked for, and so many more that the size is a multiple."""
    size, generator, sizes = 20 * SAMPLE_MULTIPLE, torch.Generator().manual_seed(3), set()
    for count in (1, 50, 250, 260):
        labels = torch.randperm(size, generator=generator)[:count]
        sample = sample_vocabulary(labels, torch.arange(100), 2 * SAMPLE_MULTIPLE, size, generator)
        drawn = int((sample.correction > 0).sum())
        assert 2 * SAMPLE_MULTIPLE <= drawn < 3 * SAMPLE_MULTIPLE and len(sample.ids) % SAMPLE_MULTIPLE == 0
        held = len(sample.ids) - drawn
        assert sample.correction.max().exp().item() == pytest.approx((size - held) / drawn)
        sizes.add(len(sample.ids))
    assert len(sizes) <= 2


def test_a_sample_of_everything_gives_the_full_losses():
    states, head, labels = make(bias=True, soft_cap=3.0)
    everything = sample_vocabulary(labels, torch.arange(4), VOCABULARY, VOCABULARY, torch.Generator())
    rows, teacher_states = head.rows(everything.ids), torch.randn(ROWS, WIDTH)
    torch.testing.assert_close(
        sampled_cross_entropy(states, rows, everything, labels), cross_entropy(states, head, labels)
    )
    torch.testing.assert_close(
        sampled_distillation(states, rows, everything, over_sample(teacher_states, rows, everything)),
        distillation(states, head, teacher_states, head),
    )
