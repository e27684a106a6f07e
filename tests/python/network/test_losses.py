"""Each term of the objective against its formula in plain float64."""

import numpy as np
import pytest
import torch
from scipy import special, stats

from bgformer.network import losses

RNG = np.random.default_rng(0)


def tensors(*arrays, gradient=False):
    made = [torch.tensor(np.asarray(a), dtype=torch.float32) for a in arrays]
    return [t.requires_grad_() for t in made] if gradient else made


def zinb_reference(x, log_mean, log_theta, logit):
    """Minus log likelihood from scipy's negative binomial and a mass at zero."""
    mean, theta, dropped = np.exp(log_mean), np.exp(log_theta), special.expit(logit)
    nb = stats.nbinom(theta, theta / (theta + mean))
    log_pmf = np.log1p(-dropped) + nb.logpmf(x)
    at_zero = np.logaddexp(np.log(dropped), log_pmf)
    return -np.where(x == 0, at_zero, log_pmf).sum(1).mean()


@pytest.mark.parametrize("log_theta", [-6.0, -2.0, 0.0, 3.0, 9.0])
@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0, 1e4])
def test_zinb_is_a_negative_binomial_with_a_mass_at_zero(scale, log_theta):
    mean = scale * np.exp(RNG.normal(size=(40, 30)))
    theta = np.exp(log_theta)
    counts = RNG.negative_binomial(theta, theta / (theta + mean)).astype(float)
    counts[RNG.random(counts.shape) < 0.2] = 0
    logit = RNG.normal(size=counts.shape) - 1
    log_theta = np.full(30, log_theta)
    expected = zinb_reference(counts, np.log(mean), log_theta, logit)
    found = losses.zinb(*tensors(counts, np.log(mean), log_theta, logit))
    assert found.item() == pytest.approx(expected, rel=2e-5)


@pytest.mark.parametrize("x", [1e3, 1e5])
@pytest.mark.parametrize("log_theta", [-5.0, 0.0, 5.0, 12.0])
def test_zinb_of_large_counts(x, log_theta):
    for log_mean in (np.log(x) - 1, np.log(x), np.log(x) + 1):
        arguments = np.full((1, 1), x), np.full((1, 1), log_mean), np.array([log_theta])
        expected = zinb_reference(*arguments, np.full((1, 1), -2.0))
        found = losses.zinb(*tensors(*arguments, np.full((1, 1), -2.0)))
        assert found.item() == pytest.approx(expected, rel=1e-4)


def test_zinb_of_a_mean_of_zero():
    zero, log_zero = np.zeros((1, 1)), np.full((1, 1), -np.inf)
    nothing = losses.zinb(*tensors(zero, log_zero, np.zeros(1), np.full((1, 1), -3.0)))
    assert nothing.item() == pytest.approx(0, abs=1e-5)  # a count of 0 is then certain
    impossible = losses.zinb(*tensors(zero + 5, log_zero, np.zeros(1), np.full((1, 1), -3.0)))
    assert torch.isfinite(impossible)
    assert impossible > 50


@pytest.mark.parametrize("count", [0.0, 1.0, 1e5])
@pytest.mark.parametrize("log_mean", [-np.inf, -1e4, -20.0, 0.0, 20.0, 1e4])
@pytest.mark.parametrize("log_theta", [-1e4, -20.0, 0.0, 20.0, 1e4])
@pytest.mark.parametrize("logit", [-1e3, 0.0, 1e3])
def test_zinb_and_its_gradients_stay_finite(count, log_mean, log_theta, logit):
    (x,) = tensors(np.full((2, 3), count))
    parameters = tensors(
        np.full((2, 3), log_mean), np.full(3, log_theta), np.full((2, 3), logit), gradient=True
    )
    loss = losses.zinb(x, *parameters)
    loss.backward()
    assert torch.isfinite(loss)
    for parameter in parameters:
        assert torch.isfinite(parameter.grad).all()


def test_zinb_gradients_are_slopes_of_the_reference():
    rng = np.random.default_rng(1)
    counts = rng.poisson(2.0, size=(6, 5)).astype(float)
    values = [rng.normal(size=(6, 5)), rng.normal(size=5), rng.normal(size=(6, 5))]
    parameters = tensors(*values, gradient=True)
    losses.zinb(*tensors(counts), *parameters).backward()
    for place, parameter in enumerate(parameters):
        slopes = np.empty(values[place].size)
        for i in range(len(slopes)):
            step = np.zeros_like(values[place])
            step.flat[i] = 1e-5
            up, down = (
                zinb_reference(
                    counts, *(v + sign * step if k == place else v for k, v in enumerate(values))
                )
                for sign in (1, -1)
            )
            slopes[i] = (up - down) / 2e-5
        np.testing.assert_allclose(parameter.grad.flatten(), slopes, rtol=1e-3, atol=1e-6)


def test_self_supervised_is_how_far_the_correlation_of_the_views_is_from_the_identity():
    a, b = RNG.normal(size=(50, 5)), RNG.normal(size=(50, 5))
    a[:, 1] += b[:, 3]
    correlation = np.corrcoef(a.T, b.T)[:5, 5:]
    on = np.square(1 - np.diagonal(correlation)).sum()
    off = np.square(correlation).sum() - np.square(np.diagonal(correlation)).sum()
    found = losses.self_supervised(*tensors(a, b), off_diagonal=0.2)
    assert found.item() == pytest.approx((on + 0.2 * off) / 5, rel=1e-3)


def test_self_supervised_does_not_depend_on_the_units_of_the_dimensions():
    a = RNG.normal(size=(50, 5))
    b = a + RNG.normal(size=(50, 5))
    unit = np.array([0.2, 1, 3, 10, 100])
    expected = losses.self_supervised(*tensors(a, b))
    found = losses.self_supervised(*tensors(unit * a + 7, unit * b - 5))
    assert found.item() == pytest.approx(expected.item(), rel=1e-2)


def test_self_supervised_is_met_by_views_that_agree_in_dimensions_that_differ():
    apart = np.linalg.qr(RNG.normal(size=(64, 8)))[0]
    apart = tensors(np.linalg.qr(apart - apart.mean(0))[0])[0]
    assert losses.self_supervised(apart, 1.5 * apart).item() == pytest.approx(0, abs=2e-3)


def test_self_supervised_is_not_met_by_a_collapsed_batch():
    collapsed = torch.ones(16, 8, requires_grad=True)
    loss = losses.self_supervised(collapsed, collapsed)
    assert loss.item() > 0.5
    loss.backward()
    assert torch.isfinite(collapsed.grad).all()


def test_self_supervised_dislikes_dimensions_that_repeat_each_other():
    views = tensors(RNG.normal(size=(200, 8)))[0]
    repeated = views[:, :1].repeat(1, 8)
    assert losses.self_supervised(repeated, repeated) > 0.05
    assert losses.self_supervised(views, views) < 0.01


def test_commitment_is_the_squared_distance_to_the_nearest_anchor_per_dimension():
    q, a = RNG.normal(size=(9, 4)), RNG.normal(size=(5, 4))
    nearest = ((q[:, None] - a[None]) ** 2).sum(2).min(1)
    its_own = a[((q[:, None] - a[None]) ** 2).sum(2).argmin(1)]
    found = losses.commitment(*tensors(q, its_own), beta=0.25)
    assert found.item() == pytest.approx(1.25 * nearest.mean() / 4, rel=1e-5)


def test_commitment_moves_anchors_to_cells_and_cells_less_to_anchors():
    (q,), (a,) = tensors([[1.0, 0.2]], gradient=True), tensors([[1.0, -0.2]], gradient=True)
    losses.commitment(q, a, beta=0.25).backward()
    # Each moves against its gradient: the anchor up to the cell, the cell down to the anchor.
    assert a.grad[0, 1] < 0 < q.grad[0, 1]
    assert q.grad[0, 1].item() == pytest.approx(-0.25 * a.grad[0, 1].item(), rel=1e-4)


def test_commitment_without_beta_does_not_move_cells():
    (q,), (a,) = tensors([[1.0, 0.2]], gradient=True), tensors([[1.0, -0.2]], gradient=True)
    losses.commitment(q, a, beta=0).backward()
    assert q.grad.abs().max() == 0


def test_soft_assignment_is_students_t_of_the_distance_per_dimension():
    z, c = RNG.normal(size=(7, 3)), RNG.normal(size=(4, 3))
    kernel = 1 / (1 + ((z[:, None] - c[None]) ** 2).mean(2))
    found = losses.soft_assignment(*tensors(z, c))
    np.testing.assert_allclose(found, kernel / kernel.sum(1, keepdims=True), rtol=1e-5)


def test_target_sharpens_and_its_rows_sum_to_one():
    q = RNG.dirichlet(np.ones(4), size=50)
    weight = q**2 / q.sum(0)
    (q,) = tensors(q)
    p = losses.target_distribution(q, q.sum(0))
    np.testing.assert_allclose(p, weight / weight.sum(1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-6)
    # With clusters of equal size, what is likely becomes likelier.
    even = losses.target_distribution(q, torch.ones(4))
    assert (even.max(1).values >= q.max(1).values).all()


def test_dec_is_the_kullback_leibler_divergence():
    p, q = RNG.dirichlet(np.ones(5), size=20), RNG.dirichlet(np.ones(5), size=20)
    p[0] = [1, 0, 0, 0, 0]
    found = losses.dec(*tensors(q, p))
    expected = (special.rel_entr(p, q)).sum(1).mean()
    assert found.item() == pytest.approx(expected, rel=1e-5)
    assert losses.dec(*tensors(q, q)).item() == pytest.approx(0, abs=1e-6)
