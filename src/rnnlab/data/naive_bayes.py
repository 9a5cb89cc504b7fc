"""A classifier of texts that training beside it must beat: naive Bayes."""

import torch

from rnnlab.data.packed import Packed


def naive_bayes(train: Packed, test: Packed, classes: int, vocabulary: int) -> torch.Tensor:
    """``(test texts, classes)`` logarithmic probabilities, but for a constant, of a multinomial model with one more of
    each token for each class (Laplace).

    A. McCallum & K. Nigam, "A comparison of event models for naive Bayes text
    classification" (1998).
    """
    owner = train.targets.repeat_interleave(train.lengths)
    counts = torch.bincount(owner * vocabulary + train.ids, minlength=classes * vocabulary).double() + 1
    log_tokens = (counts.view(classes, vocabulary) / counts.view(classes, vocabulary).sum(1, keepdim=True)).log()
    log_classes = ((torch.bincount(train.targets, minlength=classes).double() + 1) / (len(train) + classes)).log()
    text = torch.arange(len(test)).repeat_interleave(test.lengths)
    return log_classes.repeat(len(test), 1).index_add_(0, text, log_tokens.T[test.ids])
