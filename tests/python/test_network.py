"""The network: attention of cells to anchors, masks, and the state it is rebuilt from."""

import numpy as np
import pytest
import torch

from bgformer.network import BipartiteAttention, GeneParameters, Network

GENES, ANCHORS, LATENT, HEADS = 30, 12, 16, 4


@pytest.fixture
def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = Network(
            np.full(GENES, 0.3),
            5.0,
            n_batches=2,
            n_anchors=ANCHORS,
            n_latent=LATENT,
            n_hidden=24,
            n_heads=HEADS,
        )
    made.anchors_ready.fill_(True)
    return made.eval()


@pytest.fixture
def counts():
    return torch.tensor(
        np.random.default_rng(0).poisson(0.5, size=(40, GENES)), dtype=torch.float32
    )


SIZE_FACTORS = torch.linspace(0.5, 2, 40)[:, None]


def encode(network, counts, keep=None):
    return network.encode(counts, SIZE_FACTORS, keep)


def layer_norm(x, norm):
    x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + norm.eps)
    return x * norm.weight.detach().double().numpy() + norm.bias.detach().double().numpy()


def test_attention_is_softmax_over_anchors_per_head():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        attention = BipartiteAttention(LATENT, HEADS)
        cells, anchors = torch.randn(9, LATENT), torch.randn(ANCHORS, LATENT)
    read, weights = attention(cells, anchors)

    # The same by loops over heads and cells in float64.
    w = {k: v.detach().double().numpy() for k, v in attention.state_dict().items()}
    c = layer_norm(cells.double().numpy(), attention.cell_norm)
    a = layer_norm(anchors.double().numpy(), attention.anchor_norm)
    query, key, value = c @ w["query.weight"].T, a @ w["key.weight"].T, a @ w["value.weight"].T
    expected, share = np.zeros((9, LATENT)), np.zeros((9, ANCHORS))
    size = LATENT // HEADS
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        for i in range(9):
            score = np.exp([query[i, part] @ key[j, part] / np.sqrt(size) for j in range(ANCHORS)])
            score /= score.sum()
            expected[i, part] = score @ value[:, part]
            share[i] += score / HEADS
    expected = expected @ w["out.weight"].T + w["out.bias"]
    np.testing.assert_allclose(read.detach(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(weights.detach(), share, rtol=1e-4, atol=1e-6)


def test_attention_rows_sum_to_one(network, counts):
    attention = encode(network, counts).attention
    assert attention.shape == (40, ANCHORS)
    torch.testing.assert_close(attention.sum(1), torch.ones(40))


def test_a_cell_does_not_depend_on_the_others_in_its_batch(network, counts):
    together = encode(network, counts).latent
    cells = zip(counts, SIZE_FACTORS, strict=True)
    alone = torch.cat([network.encode(row[None], size[None]).latent for row, size in cells])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        network.encode(counts[order], SIZE_FACTORS[order]).latent,
        together[order],
        rtol=1e-4,
        atol=1e-5,
    )


def test_no_gradient_flows_between_cells(network, counts):
    counts.requires_grad_()
    encode(network, counts).latent[3].sum().backward()
    reached = counts.grad.abs().sum(1) > 0
    assert reached.nonzero().ravel().tolist() == [3]


def test_anchors_change_the_latent_only_once_in_use(network, counts):
    with_anchors = encode(network, counts)
    network.anchors_ready.fill_(False)
    without = encode(network, counts)
    assert without.attention is None
    torch.testing.assert_close(without.latent, without.query)
    assert not torch.allclose(with_anchors.latent, without.latent)


def test_a_masked_gene_cannot_be_seen(network, counts):
    keep = torch.ones(1, GENES)
    keep[:, 4:9] = 0
    changed = counts.clone()
    changed[:, 4:9] += 3
    torch.testing.assert_close(
        encode(network, counts, keep).latent, encode(network, changed, keep).latent
    )
    assert not torch.allclose(encode(network, counts).latent, encode(network, changed).latent)


def test_the_latent_starts_as_projections_on_the_axes_it_is_given(network, counts):
    network.anchors_ready.fill_(False)
    axes = np.random.default_rng(1).normal(size=(5, GENES))
    network.start_from(axes)
    expected = SIZE_FACTORS * 0.3
    residual = (counts - expected) / torch.sqrt(expected + expected**2 / 100)
    projected = residual.clamp(-5, 5).numpy() @ axes.T
    latent = encode(network, counts).latent.detach().numpy()
    for given, found in zip(projected.T, latent.T, strict=False):
        assert np.corrcoef(given, found)[0, 1] > 0.99
    assert latent[:, 5:].std() < 0.05 * latent[:, :5].std()


def test_decoding_some_genes_is_a_part_of_decoding_all(network, counts):
    latent, batch = encode(network, counts).latent, torch.zeros(40, dtype=torch.long)
    genes = torch.tensor([7, 2, 19])
    of_genes = network.of_genes()
    every = network.decode(latent, batch, of_genes)
    some = network.decode(latent, batch, GeneParameters(*(each[genes] for each in of_genes)))
    torch.testing.assert_close(some.log_mean, every.log_mean[:, genes])
    torch.testing.assert_close(some.dropout_logit, every.dropout_logit[:, genes])
    torch.testing.assert_close(some.log_dispersion, every.log_dispersion[genes])


def test_a_network_is_rebuilt_from_its_state(counts):
    default_heads = Network(
        np.full(GENES, 0.3),
        5.0,
        n_batches=3,
        n_anchors=ANCHORS,
        n_latent=LATENT,
    )
    default_heads.anchors_ready.fill_(True)
    again = Network.from_state(default_heads.state_dict())
    torch.testing.assert_close(
        encode(again, counts).latent, encode(default_heads.eval(), counts).latent
    )
