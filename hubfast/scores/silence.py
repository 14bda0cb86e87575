"""For which shapes a score does not tell models apart, whatever their features are."""


def says_nothing(metric: str, count: int, width: int) -> str | None:
    """Why a score says nothing for features of this shape; None where it tells models apart.

    Where it says so, equal or nearly equal scores are no order of the models.

    Args:
        metric: One of `hubfast.scores.registry.Metric`.
        count: How many samples the score is of.
        width: Of the features.
    """
    match metric:
        # Centred, n samples span n - 1 directions: as many features hold the classes in full.
        case "h_score" if count <= width + 1:
            why = "with n <= D + 1 it is C - 1 for every model; take regularized_h_score"
        case "sfda" if count <= width:
            why = "with n <= D every model separates all samples, and it is near 0"
        case "n_leep" if count < 10:  # two clusters of the least size
            why = "with n < 10 there is one cluster, and it is -H(y) for every model"
        case _:
            return None
    return f"{metric} says nothing for n = {count} samples of width D = {width}: {why}"
