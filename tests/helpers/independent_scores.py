"""Scores computed from their definitions in NumPy and SciPy, sample by sample and pair by pair."""

import math

import numpy as np
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from scipy.stats import multivariate_normal, spearmanr
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture


def transrate(x, y, distortion=1e-4):
    def rate(rows):
        singular = np.linalg.svd(rows, compute_uv=False)
        return 0.5 * np.log1p(singular**2 / (len(rows) * distortion)).sum()

    z = x - x.mean(0)
    z = z / np.linalg.norm(z)
    return rate(z) - sum(np.mean(y == c) * rate(z[y == c]) for c in np.unique(y))


def gbc(x, y):
    reduced = PCA(min(64, *x.shape), svd_solver="full").fit_transform(x)
    width = reduced.shape[1]
    groups = [reduced[y == c] for c in np.unique(y)]
    total = 0.0
    for a in groups:
        for b in groups:
            if a is b:
                continue
            covariances = [np.eye(width) * g.var(0, ddof=1).mean() for g in (a, b)]
            middle = sum(covariances) / 2
            gap = a.mean(0) - b.mean(0)
            log_dets = [np.linalg.slogdet(m)[1] for m in (middle, *covariances)]
            distance = gap @ np.linalg.inv(middle) @ gap / 8
            distance += 0.5 * (log_dets[0] - (log_dets[1] + log_dets[2]) / 2)
            total -= math.exp(-distance)
    return total


def n_leep(x, y, clusters, seed=0):
    reduced = PCA(0.8, svd_solver="full").fit_transform(x)
    reduced = reduced / np.sqrt((reduced**2).mean())
    fitted = GaussianMixture(clusters, covariance_type="diag", random_state=seed).fit(reduced)
    density = np.array(
        [
            weight * multivariate_normal(mean, np.diag(covariance)).pdf(reduced)
            for weight, mean, covariance in zip(
                fitted.weights_, fitted.means_, fitted.covariances_, strict=True
            )
        ]
    ).T
    theta = density / density.sum(1, keepdims=True)
    total = 0.0
    for i in range(len(x)):
        chance = sum(
            theta[i, z] * theta[y == y[i], z].sum() / theta[:, z].sum() for z in range(clusters)
        )
        total += math.log(chance)
    return total / len(x)


def sfda(x, y):
    """By the densities of Gaussian classes with one shrunk covariance."""
    classes, sizes = np.unique(y, return_counts=True)
    within = sum(np.cov(x[y == c].T, bias=True) * np.mean(y == c) for c in classes)
    shrinkage = max(math.exp(-5 * np.linalg.eigvalsh(within)[-1]), 1e-10)

    def log_posterior(rows):
        scatter = sum(np.cov(rows[y == c].T, bias=True) * np.mean(y == c) for c in classes)
        width = len(scatter)
        shrunk = (1 - shrinkage) * scatter + shrinkage * np.trace(scatter) / width * np.eye(width)
        found = np.array(
            [
                multivariate_normal(rows[y == c].mean(0), shrunk).logpdf(rows)
                + math.log(n / len(y))
                for c, n in zip(classes, sizes, strict=True)
            ]
        ).T
        return found - np.logaddexp.reduce(found, axis=1, keepdims=True)

    soft = np.exp(np.exp(log_posterior(x)))
    soft = soft / soft.sum(1, keepdims=True)
    mixed = np.empty_like(x)
    for i in range(len(x)):
        own = soft[i, list(classes).index(y[i])]
        others = np.mean([x[y == c].mean(0) for c in classes if c != y[i]], axis=0)
        mixed[i] = own * x[i] + (1 - own) * others
    final = log_posterior(mixed)
    return np.mean([final[i, list(classes).index(y[i])] for i in range(len(x))])


def parc(x, y):
    scaled = (x - x.mean(0)) / x.std(0)
    labels = np.eye(y.max() + 1)[y]
    pairs = np.triu_indices(len(x), 1)
    features = cdist(scaled, scaled, "correlation")[pairs]
    return spearmanr(features.round(12), cdist(labels, labels, "correlation")[pairs].round(12))[0]


def pactran(x, y):
    """By Newton's method in all of W, b, the Hessian formed."""
    n, width = x.shape
    classes = y.max() + 1
    design = np.hstack([x, np.ones((n, 1))])
    penalty = np.diag(np.repeat([1.0] * width + [0.0], classes)) / n
    theta = np.zeros((width + 1) * classes)

    def terms(theta):
        logits = design @ theta.reshape(width + 1, classes)
        logits -= logits.max(1, keepdims=True)
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        loss = -np.log(p[np.arange(n), y]).mean() + theta @ penalty @ theta / 2
        gradient = (design.T @ (p - np.eye(classes)[y]) / n).ravel() + penalty @ theta
        hessian = np.zeros((len(theta), len(theta)))
        for row, probability in zip(design, p, strict=True):
            curved = np.diag(probability) - np.outer(probability, probability)
            hessian += np.kron(np.outer(row, row), curved) / n
        return loss, gradient, hessian

    theta = minimize(
        lambda t: terms(t)[0],
        theta,
        jac=lambda t: terms(t)[1],
        hess=lambda t: terms(t)[2] + penalty,
        method="trust-exact",
        options={"gtol": 1e-9},
    ).x
    loss, _, hessian = terms(theta)
    size = classes * width
    flatness = size / (2 * n * width) * math.log(1 + n / size * np.trace(hessian))
    return -(loss + flatness)


def knn(x, y, k):
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    right = 0
    for i in range(len(x)):
        order = sorted((j for j in range(len(x)) if j != i), key=lambda j: -unit[i] @ unit[j])
        labels = [y[j] for j in order[:k]]
        most = max(labels.count(c) for c in labels)
        tied = [c for c in set(labels) if labels.count(c) == most]
        right += min(tied, key=labels.index) == y[i]
    return right / len(x)


def linear_probe(x, y, fold):
    scaled = (x - x.mean(0)) / x.std(0)
    right = 0
    for held in np.unique(fold):
        head = LogisticRegression(solver="newton-cg", tol=1e-8, max_iter=1000)
        head.fit(scaled[fold != held], y[fold != held])
        right += (head.predict(scaled[fold == held]) == y[fold == held]).sum()
    return right / len(x)
