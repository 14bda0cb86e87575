"""How a saved model of texts is used: its card's words and code."""

from hubfast.tuning.card import Usage

IMPORTS = """import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
"""
ONE = """

def outputs(texts, folder="FOLDER"):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    inputs = tokenizer(texts, truncation=True, padding=PADDING, return_tensors="pt")
    with torch.inference_mode():
        return model(**inputs).logits"""
PAIRS = """

def outputs(pairs, folder="FOLDER"):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    marks = tokenizer.num_special_tokens_to_add(pair=True) > tokenizer.num_special_tokens_to_add()
    between = "" if marks else "\\n"
    firsts, seconds = [first for first, _ in pairs], [between + second for _, second in pairs]
    inputs = tokenizer(firsts, seconds, truncation=True, padding=PADDING, return_tensors="pt")
    with torch.inference_mode():
        return model(**inputs).logits"""
SEVERAL = """

def all_outputs(texts):
    found = torch.stack([outputs(texts, f"FOLDER/{name}") for name in MEMBERS])
    return AVERAGE"""
AVERAGES = {  # as `Ensemble` averages
    "classification": "found.log_softmax(2).exp().mean(0).log()",
    "multilabel": "found.sigmoid().mean(0).logit(eps=1e-6)",
    "regression": "found.mean(0)",
}


def text_usage(
    task: str, members: tuple[str, ...] = (), *, full: bool = False, pairs: bool = False
) -> Usage:
    """How a saved model of texts is used.

    Args:
        task: What the targets pose.
        members: Sub-folders of the models whose predictions are averaged; none for one model.
        full: Whether all texts are padded to as many tokens as the model takes.
        pairs: Whether a sample is a pair of texts.
    """
    one = (PAIRS if pairs else ONE).replace("PADDING", '"max_length"' if full else "True")
    code, called = IMPORTS + one, "outputs"
    if members:
        several = SEVERAL.replace("MEMBERS", str(members)).replace("AVERAGE", AVERAGES[task])
        code, called = f"{code}\n{several}", "all_outputs"
    what = "pairs of texts" if pairs else "texts"
    sentence = (
        f"`{called}(texts)` gives the outputs of a list of {what}. A text of more tokens than the "
        "model takes is cut, as it was in training. FOLDER is this folder."
    )
    return Usage("transformers", "text-classification", sentence, code, "text")
