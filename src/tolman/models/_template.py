"""How a prompt becomes the text that a pretrained model reads: the one place for scoring, generation, training and serving."""

import re
from collections.abc import Sequence
from typing import Any

from tolman.core.data import Chat, Prompt

STATEMENT = "Complete the statement."
_DOCUMENT_MARK = "<|endoftext|>"
"""What stands between the documents that GPT-2, Qwen, OLMo and SmolLM were pretrained on; their tokenizers do not put it there by themselves."""
CUT = "\U0010fffd"
"""A private character: where it stands in a rendered text, tokens are cut in two. (One that a document itself holds is dropped.)"""


class Template:
    """The chat template of `tokenizer`, and when it is used.

    A statement to complete, with nothing to read first, is plain text, just as documents are in training. After documents it is the model's own turn, begun for it, in a
    chat whose user gave the documents. A question in words (it ends with a question mark) is the user's, and the model's turn is what it thought so far (`trace`).
    A model without a chat template reads documents, trace and question one a line. A `Chat` is written turn by turn, and no turn can say one of the tokenizer's
    special tokens: what is quoted in it, and what the user wrote, cannot begin or end a turn.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.chats = bool(tokenizer.chat_template)
        vocabulary = tokenizer.get_vocab()
        lead = tokenizer("")["input_ids"]
        self.begin: str = tokenizer.decode(lead) if lead else _DOCUMENT_MARK if _DOCUMENT_MARK in vocabulary else tokenizer.bos_token or tokenizer.eos_token
        self.end: int = tokenizer.eos_token_id
        turn_ends = (tokenizer.convert_tokens_to_ids(t) for t in ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", _DOCUMENT_MARK) if t in vocabulary)
        self.ends = {i for i in (self.end, tokenizer.pad_token_id, *turn_ends) if i is not None}
        added = {str(t) for t in (*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens)}
        marks = [re.escape(t) for t in sorted(added, key=len, reverse=True) if len(t) > 1 and not t.isspace() and not t.isalnum()]
        self._special = re.compile(f"(?=(?:{'|'.join(marks)}))(.)" if marks else r"(?!)()", re.DOTALL | re.IGNORECASE)

    def document(self, text: str) -> str:
        """A document as it is trained on; its beginnings are prompts without documents."""
        return self.begin + self.plain(text)

    def text(self, prompt: Prompt) -> str:
        """Everything that the model reads, special tokens included."""
        said = "".join(f"{part}\n" for part in (prompt.trace,) if part)
        if isinstance(prompt, Chat) and self.chats:
            return self.conversation(prompt.turns) + said + self.plain(prompt.begun)
        if not self.chats or not self.is_question(prompt) and not prompt.documents:
            return self.document("\n".join((*prompt.documents, said + prompt.question)))
        documents, said, question = self.plain("\n".join(prompt.documents)), self.plain(said), self.plain(prompt.question)
        if self.is_question(prompt):
            return self.turn(f"{documents}\n\n{question}".strip()) + said
        return self.turn(f"{documents}\n\n{STATEMENT}") + said + question

    def plain(self, text: str) -> str:
        """`text`, which somebody wrote, with a cut within whatever spells a special token: it is read as text, and ends no turn."""
        return self._special.sub(rf"\1{CUT}", text.replace(CUT, ""))

    def encode(self, texts: Sequence[str]) -> tuple[list[list[int]], list[list[tuple[int, int]]]]:
        """Token ids of rendered texts, and where in the text (without its cuts) each token begins and ends."""
        parts = [text.split(CUT) for text in texts]
        flat = [part for own in parts for part in own]
        read = self.tokenizer(flat, add_special_tokens=False, return_offsets_mapping=True) if flat else {"input_ids": [], "offset_mapping": []}
        rows = zip(flat, read["input_ids"], read["offset_mapping"], strict=True)
        ids: list[list[int]] = []
        offsets: list[list[tuple[int, int]]] = []
        for own in parts:
            at = 0
            ids.append([])
            offsets.append([])
            for part, token, span in (next(rows) for _ in own):
                ids[-1] += token
                offsets[-1] += [(at + a, at + b) for a, b in span]
                at += len(part)
        return ids, offsets

    def turn(self, user: str) -> str:
        """A chat in which the user said `user`, and the model's turn has just begun."""
        return self.tokenizer.apply_chat_template([{"role": "user", "content": user}], tokenize=False, add_generation_prompt=True)

    def conversation(self, turns: Sequence[tuple[str, str]]) -> str:
        """A chat of several turns, and the model's has just begun. What the system says is the user's first line where the model's template knows no system."""
        said = [{"role": role, "content": self.plain(text)} for role, text in turns]
        try:
            return self.tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
        except Exception:  # templates raise what they like
            if said[0]["role"] != "system" or len(said) < 2:
                raise
            first = {"role": said[1]["role"], "content": f"{said[0]['content']}\n\n{said[1]['content']}"}
            return self.tokenizer.apply_chat_template([first, *said[2:]], tokenize=False, add_generation_prompt=True)

    def separator(self, prompt: Prompt) -> str:
        """What stands between the prompt and an answer: a space within a text, nothing where the model's turn has just begun."""
        if isinstance(prompt, Chat) and self.chats:
            return " " if prompt.begun and not prompt.begun[-1:].isspace() else ""
        return "" if self.chats and self.is_question(prompt) or prompt.question[-1:].isspace() else " "

    @staticmethod
    def is_question(prompt: Prompt) -> bool:
        return prompt.question.rstrip().endswith("?")
