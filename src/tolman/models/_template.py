"""How a prompt becomes the text that a pretrained model reads: the one place for scoring, generation, training and serving."""

from typing import Any

from tolman.core.data import Prompt

STATEMENT = "Complete the statement."
_DOCUMENT_MARK = "<|endoftext|>"
"""What stands between the documents that GPT-2, Qwen, OLMo and SmolLM were pretrained on; their tokenizers do not put it there by themselves."""


class Template:
    """The chat template of `tokenizer`, and when it is used.

    A statement to complete, with nothing to read first, is plain text, just as documents are in training. After documents it is the model's own turn, begun for it, in a
    chat whose user gave the documents. A question in words (it ends with a question mark) is the user's, and the model's turn is what it thought so far (`trace`).
    A model without a chat template reads documents, trace and question one a line.
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

    def document(self, text: str) -> str:
        """A document as it is trained on; its beginnings are prompts without documents."""
        return self.begin + text

    def text(self, prompt: Prompt) -> str:
        """Everything that the model reads, special tokens included."""
        said = "".join(f"{part}\n" for part in (prompt.trace,) if part)
        if not self.chats or not self.is_question(prompt) and not prompt.documents:
            return self.document("\n".join((*prompt.documents, said + prompt.question)))
        if self.is_question(prompt):
            return self.turn("\n\n".join(("\n".join(prompt.documents), prompt.question)).strip()) + said
        return self.turn("\n\n".join(("\n".join(prompt.documents), STATEMENT))) + said + prompt.question

    def turn(self, user: str) -> str:
        """A chat in which the user said `user`, and the model's turn has just begun."""
        return self.tokenizer.apply_chat_template([{"role": "user", "content": user}], tokenize=False, add_generation_prompt=True)

    def separator(self, prompt: Prompt) -> str:
        """What stands between the prompt and an answer: a space within a text, nothing where the model's turn has just begun."""
        return "" if self.chats and self.is_question(prompt) or prompt.question[-1:].isspace() else " "

    @staticmethod
    def is_question(prompt: Prompt) -> bool:
        return prompt.question.rstrip().endswith("?")
