"""The ledger: what the work that Tolman implements claims or leaves open, each with the rule that decides it, written before the runs.

"Latent" = never a training target in the tested form. Margins are on paired differences, with 95 % intervals, over at least 3 seeds.
"""

from typing import NamedTuple


class Claim(NamedTuple):
    """`says` is the claim in one line, `rule` how it is decided."""

    says: str
    rule: str


LEDGER: dict[str, Claim] = {
    "C01": Claim(
        "The same documents support different generalisation from weights and from context",
        "on >= 3 benchmarks, latent kinds: in-context minus parametric > 0, while recall of trained forms is equal within .05 or better parametrically",
    ),
    "C02": Claim(
        "Pretrained, celebrity and nonsense reversals: untuned at chance; fine-tuned at or below chance reversed (and well above it in the trained direction); everything in context far above",
        "the four comparisons, distractor pool stated (both pools)",
    ),
    "C03": Claim(
        "Pretrained, nonsense syllogisms: chance < fine-tuned < in context <= augmented",
        "ordering",
    ),
    "C04": Claim(
        "From scratch: forward facts recalled >= .99, held-out reversals ~ 0, the same facts reversed from context >= .95",
        "those numbers",
    ),
    "C05": Claim(
        "In-context sequences within training are what lets retrieved experiences be used",
        "retrieval gain with them minus without > .5",
    ),
    "C06": Claim(
        "Codebooks: definitions recalled, trained symbols encode in new sequences, latent symbols encode with the definition in context, fail without",
        "four thresholds",
    ),
    "C07": Claim(
        "Open: which share of facts must be seen reversed before held-out facts reverse?",
        "curve over shares 0 .. 99.9 % with intervals, at two model sizes, two world sizes and two training lengths (late generalisation, weight decay), per relation and pooled; threshold located, or shown absent up to there (at 99 % the papers still see 0), and what does move it (objective, tokenised names that share parts, in-context episodes)",
    ),
    "C08": Claim(
        "Generalisation across languages: learned in one, asked in the other, lexicon shared",
        "explicit vs latent language; formal vs natural encoding",
    ),
    "C09": Claim(
        "A feature of causal next-token training, not of all architectures: bidirectional or masked objectives reverse; never predicting the source gives 0",
        "NTP ~ 0, MLM and NTP+masking >= .9, entity-reversed text with delimiter >= .9, control 0; wrong-frame control 0",
    ),
    "C10": Claim(
        "Also fails for other latent information: two hops, syllogisms, other goals (objects seen but never the goal in mazes)",
        "trained form >= .9, latent form far below, per benchmark",
    ),
    "C11": Claim(
        "Weights consolidate what is common to many documents; context gives one document in richer detail",
        "a corpus with a regularity spread over more documents than fit in context, plus specifics: parametric wins the first, context the second",
    ),
    "C12": Claim(
        "A fact is recalled when cued by its first part, not from the middle or the end",
        "recall by cue position",
    ),
    "C13": Claim(
        "Above-zero parametric generalisation can be co-occurrence: right where the statistics agree (birds fly), wrong where they mislead (penguins); more data repairs it",
        "agree > chance, mislead < chance, dose curve upward; retrieval repairs at once",
    ),
    "C14": Claim(
        "Compression helps the regular and loses the particular",
        "sweep of size and weight decay: statistical kinds up, specific recall down",
    ),
    "C15": Claim(
        "Fine-tuning on in-context augmentations reaches in-context accuracy on reversals and beats it on syllogisms",
        "differences",
    ),
    "C16": Claim(
        "It wins because many traces can be sampled where in-context learning gets one try",
        "accuracy over number of traces",
    ),
    "C17": Claim(
        "Augmentation adds no information, it makes information usable",
        "usable (V-) information about latent answers in bits, before and after, same model family",
    ),
    "C18": Claim(
        "Augmenting for one use does not serve an unforeseen use; retrieval does",
        "two kinds, augment for one, test the other",
    ),
    "C19": Claim(
        "Oracle episodic memory (perfect recall, imperfect precision) rescues latent reversals, with distractors",
        "retrieval >= .9 at >= 3 distractors, closed book ~ 0, trained kinds no worse",
    ),
    "C20": Claim(
        "The same on codebooks and (partly) on mazes",
        "as above; mazes better but below ceiling",
    ),
    "C21": Claim(
        "real retrievers against the oracle",
        "recall@k and answer accuracy, BM25, dense, hybrid",
    ),
    "C22": Claim(
        "RL to recall on benchmark A improves benchmark B that had no RL; augmenting A does not",
        "difference on B, both methods, chains",
    ),
    "C23": Claim(
        "Reversals gain little from learned recall: above chance by enumerating and checking, below retrieval; cost grows with the number of facts",
        "accuracy, share of guess-and-check traces, length over number of facts",
    ),
    "C24": Claim(
        "Augmentation is dear at train time (>= 10x plain fine-tuning, generation included) and free at test time; retrieval the reverse; RL both",
        "FLOPs and tokens per cell; break-even number of questions",
    ),
    "C25": Claim(
        "Larger models use context and retrieval better",
        "accuracy over sizes",
    ),
    "C26": Claim(
        "Accuracy falls with the length of context and the number of distractors, depending on what is retrieved",
        "curves",
    ),
    "C27": Claim(
        "Open: sparse (mixture of experts) vs dense",
        "equal active parameters, learning speed and latent kinds",
    ),
    "C28": Claim(
        "Replacing real words by nonsense lowers use of context",
        "paired difference, pretrained",
    ),
    "C29": Claim(
        "Fast updates from single experiences damage old knowledge; storing episodes and replaying them slowly keeps it",
        "retention under single-shot vs interleaved replay",
    ),
    "C30": Claim(
        "Fine-tuning distorts other knowledge; regularisation (replay, KL to the base, L2, adapters) counteracts",
        "retention beside gain, per method",
    ),
    "C31": Claim(
        "Independent hallucinations in augmented data average out; correlated ones do not",
        "error rate x correlation sweep",
    ),
    "C32": Claim(
        "The augmentation prompt should know the task but not be too specific; local vs global",
        "prompt ablation on matched and unmatched kinds",
    ),
    "C33": Claim(
        "Inconsistent information in context is reconciled badly",
        "accuracy over share and position of contradictions",
    ),
    "C34": Claim(
        "Generative recall (reciting from weights, then using it) is flexible but confabulates; stored episodes do not",
        "confabulation rate and accuracy",
    ),
    "C35": Claim(
        "Training first on formal or nonsense sequences speeds later learning",
        "documents needed to reach .9",
    ),
    "C36": Claim(
        "A fixed budget can be split over augmentation, new data, training and test-time compute; there is a frontier",
        "fitted frontier, holdout error of the fit",
    ),
    "C37": Claim(
        "Offline and online together beat either",
        "combination minus best single > 0 or equal at ceiling",
    ),
    "C38": Claim(
        "Learning can be too tied to its context: taught in one setting, not used in another; retrieved examples help, or hurt",
        "setting shift x retrieval",
    ),
}
