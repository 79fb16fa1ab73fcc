"""Make the PDF and the Word document of examples/docs from the texts in examples/text: `python examples/make_documents.py`."""

from pathlib import Path

HERE = Path(__file__).parent


def write_pdf(lines: list[str], path: Path) -> None:
    """Lines of Helvetica on one A4 page; no library needed, and the same bytes every time."""
    escaped = (line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)") for line in lines)
    stream = ("BT /F1 10 Tf 14 TL 50 790 Td\n" + "\n".join(f"({line}) Tj T*" for line in escaped) + "\nET").encode("cp1252")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    data, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
    path.write_bytes(data + end % (len(objects) + 1, table, len(objects) + 1, len(data)))


def wrapped(text: str, width: int = 95) -> list[str]:
    """Paragraphs broken into lines, an empty line between them."""
    import textwrap

    return "\n\n".join(textwrap.fill(" ".join(paragraph.split()), width) for paragraph in text.split("\n\n")).split("\n")


def write_docx(text: str, path: Path) -> None:
    """`#` and `##` begin headings of the first and second level."""
    from docx import Document

    document = Document()
    for paragraph in text.strip().split("\n\n"):
        marks, _, title = paragraph.partition(" ")
        if set(marks) == {"#"}:
            document.add_heading(title, len(marks))
        else:
            document.add_paragraph(" ".join(paragraph.split()))
    document.save(str(path))


if __name__ == "__main__":
    write_pdf(wrapped((HERE / "text" / "08-expeditions.txt").read_text()), HERE / "docs" / "08-expeditions.pdf")
    write_docx((HERE / "text" / "09-library.txt").read_text(), HERE / "docs" / "09-library.docx")
