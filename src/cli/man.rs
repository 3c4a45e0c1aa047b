//! The man page: clap's sections, then the guide.

use std::io;

use clap_mangen::Man;
use roff::{Inline, Roff, bold, roman};

use crate::guide::PAGES;
use crate::guide::markdown::{Block, blocks};

/// Renders the man page in roff.
///
/// # Errors
///
/// None in practice: clap reports an error only if writing to memory fails.
pub(super) fn page() -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    Man::new(super::command()).render(&mut text)?;
    for page in PAGES {
        to_roff(page.text).to_writer(&mut text)?;
    }
    Ok(text)
}

fn to_roff(markdown: &str) -> Roff {
    let mut roff = Roff::new();
    for block in blocks(markdown) {
        match block {
            Block::Heading(1, title) => roff.control("SH", [title.to_uppercase().as_str()]),
            Block::Heading(_, title) => roff.control("SS", [title.as_str()]),
            Block::Paragraph(text) => roff.control("PP", []).text(inlines(&text)),
            Block::Item(marker, text) => {
                let marker = if marker == "-" { "\u{2022}" } else { &marker };
                roff.control("IP", [marker, "4"]).text(inlines(&text))
            }
            Block::Row(term, text) => roff
                .control("TP", [])
                .text(inlines(&term))
                .text(inlines(&text)),
            Block::Code(line) => {
                let line = [roman(line)];
                roff.control("EX", []).text(line).control("EE", [])
            }
        };
    }
    roff
}

/// Shows code and emphasis in bold, and links by their text.
fn inlines(text: &str) -> Vec<Inline> {
    let mut inlines = Vec::new();
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 1 {
            inlines.push(bold(part));
            continue;
        }
        for (index, part) in without_links(part).split("**").enumerate() {
            inlines.push(if index % 2 == 1 {
                bold(part)
            } else {
                roman(part)
            });
        }
    }
    inlines
}

fn without_links(text: &str) -> String {
    let link = regex::Regex::new(r"\[([^\]]*)\]\([^)]*\)").expect("a valid expression");
    link.replace_all(text, "$1").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_becomes_roff() {
        let markdown = "# A page\n\nOne `--two` and\n**three**, [four](https://x.test).\n\n- item\n\n```\n.x\n```\n\n\
            | a | b |\n| --- | --- |\n| `c` | d |\n";
        let expected = ".SH \"A PAGE\"\n.PP\nOne \\fB\\-\\-two\\fR and \\fBthree\\fR, four.\n.IP • 4\nitem\n\
            .EX\n\\&.x\n.EE\n.TP\n\\fBc\\fR\nd\n";
        let rendered = to_roff(markdown).render();
        let (_, body) = rendered.split_once(".SH").unwrap();
        assert_eq!(format!(".SH{body}"), expected);
    }
}
