"""How a prompt becomes the text that a pretrained model reads: the one place for scoring, generation, training and serving."""

import re
from collections.abc import Sequence
from typing import Any

from tolman.core.data import Chat, Prompt

STATEMENT = "Complete the statement."
_DOCUMENT_MARK = "<|endoftext|>"
"""What stands between the documents that GPT-2, Qwen, OLMo and SmolLM were pretrained on; their tokenizers do not put it there by themselves."""


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
        marks = {
            str(t) for t in (*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens) if len(str(t)) > 1 and not str(t).isspace() and not str(t).isalnum()
        }
        self._mark = re.compile("|".join(re.escape(t) for t in sorted(marks, key=len, reverse=True)), re.IGNORECASE) if marks else None

    def document(self, text: str) -> str:
        """A document as it is trained on; its beginnings are prompts without documents."""
        return self.begin + text

    def text(self, prompt: Prompt) -> str:
        """Everything that the model reads, special tokens included."""
        said = "".join(f"{part}\n" for part in (prompt.trace,) if part)
        if isinstance(prompt, Chat) and self.chats:
            return self.conversation(prompt.turns) + said + self.plain(prompt.begun)
        if not self.chats or not self.is_question(prompt) and not prompt.documents:
            return self.document("\n".join((*prompt.documents, said + prompt.question)))
        if self.is_question(prompt):
            return self.turn("\n\n".join(("\n".join(prompt.documents), prompt.question)).strip()) + said
        return self.turn("\n\n".join(("\n".join(prompt.documents), STATEMENT))) + said + prompt.question

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

    def plain(self, text: str) -> str:
        """`text` with a space inside each of the tokenizer's special tokens, so that it is read as letters."""
        while self._mark and (found := self._mark.search(text)):
            text = f"{text[: found.start() + 1]} {text[found.start() + 1 :]}"
        return text

    def separator(self, prompt: Prompt) -> str:
        """What stands between the prompt and an answer: a space within a text, nothing where the model's turn has just begun."""
        if isinstance(prompt, Chat) and self.chats:
            return " " if prompt.begun and not prompt.begun[-1:].isspace() else ""
        return "" if self.chats and self.is_question(prompt) or prompt.question[-1:].isspace() else " "

    @staticmethod
    def is_question(prompt: Prompt) -> bool:
        return prompt.question.rstrip().endswith("?")
