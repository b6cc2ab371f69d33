"""The plain text that is made of a mail's HTML."""

import pytest

from batchjob_processors.plain_text import plain_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<h1>A &amp; B</h1><p>one\n  two</p><p>three</p>", "A & B\n\none two\n\nthree\n"),
        ("a<br>b<br><br>c", "a\nb\n\nc\n"),
        ("<ul><li>one<li>two</ul><ol><li>x</li><li>y</li></ol>", "- one\n- two\n\n1. x\n2. y\n"),
        ("<table><tr><td>Tea</td><td>2.50</td></tr><tr><td>Cake</td></tr></table>", "Tea 2.50\nCake\n"),
        ("<pre>a\n  b</pre>c", "a\n  b\n\nc\n"),
        ("<p>Dear <b>Ada</b>, hi</p>", "Dear Ada, hi\n"),
        ("x <img src='cid:a' alt='Logo'><img src='b'>", "x Logo\n"),
        ("", "\n"),
    ],
)
def test_the_text_has_the_paragraphs_items_and_rows_of_the_html(html: str, text: str) -> None:
    assert plain_text(html) == text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<a href='https://x.example/y'>here</a>.", "here (https://x.example/y).\n"),
        ("<a href='https://x.example'>https://x.example</a>", "https://x.example\n"),
        ("<a href='mailto:a@x.example'>a@x.example</a>", "a@x.example\n"),
        ("<a href='https://x.example'><img src=b></a>", "https://x.example\n"),
        ("<a href='#top'>up</a> <a>none</a>", "up none\n"),
    ],
)
def test_a_link_is_followed_by_where_it_leads_unless_it_says_so_itself(html: str, text: str) -> None:
    assert plain_text(html) == text


def test_what_a_reader_does_not_see_is_left_out() -> None:
    hidden = "<div style='display: none'>preview <div>deep</div></div>"
    html = f"<head><title>T</title><style>p{{}}</style></head><script>x<y</script><!-- c -->{hidden}<p>seen</p>"
    assert plain_text(html) == "seen\n"


def test_html_that_is_badly_nested_or_very_deep_is_read_all_the_same() -> None:
    assert plain_text("</a></ul></pre><li>" + "<div>" * 10_000 + "x</b>") == "-\nx\n"


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<![if !mso]>seen<![endif]>", "seen\n"),
        ("<![x]>seen", "seen\n"),
        ("seen<!-- hidden", "seen\n"),
        ("seen &amp", "seen &\n"),
        ("<a href='https://x.example'>one<a href='https://y.example'>two</a></a>", "onetwo (https://y.example)\n"),
    ],
)
def test_html_of_a_hostile_or_careless_writer_is_read_all_the_same(html: str, text: str) -> None:
    assert plain_text(html) == text


@pytest.mark.parametrize("piece", ["<!--", "<a", "</a", "<?", "<![CDATA[", "<!"])
def test_html_that_never_ends_is_read_in_one_go(piece: str) -> None:
    """Looked through again from each piece on, this takes an hour, and the worker stands still."""
    assert plain_text("seen" + piece * 200_000) == "seen\n"


def test_links_that_are_opened_and_never_ended_are_read_in_one_go() -> None:
    assert plain_text("<a>x" * 20_000 + "</a>" * 20_000) == "x" * 20_000 + "\n"
