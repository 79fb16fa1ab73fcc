"""Contracts that every component must keep, modelled on scikit-learn's `estimator_checks`.

    from tolman.testing import check_dataset, smallest
    check_dataset(smallest(MyDataset))

Each check raises AssertionError with a sentence naming the component and what is broken; returning means kept. Tolman's own tests run them over everything
that `tolman.core.discovery` finds, so a new file is covered by existing. What a check must know of a class stands in its ClassVars: `example`, the field values
that build it in no time where its defaults do not; `trains = False`, for a train-time method that trains nothing; `alternatives`, other values of operational
fields (field -> values) where these are neither numbers nor booleans.
"""

from tolman.testing.augment import check_augment
from tolman.testing.component import check_component, smallest
from tolman.testing.dataset import check_corpus, check_dataset
from tolman.testing.figure import check_figure
from tolman.testing.model import check_model
from tolman.testing.scoring import check_scoring
from tolman.testing.test_time import check_retriever, check_test_time
from tolman.testing.train_time import MemoryCheckpoints, Silent, check_train_time

__all__ = [
    "MemoryCheckpoints", "Silent", "check_augment", "check_component", "check_corpus", "check_dataset", "check_figure", "check_model", "check_retriever",
    "check_scoring", "check_test_time", "check_train_time", "smallest",
]  # fmt: skip
