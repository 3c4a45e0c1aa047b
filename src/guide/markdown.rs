//! The subset of Markdown that the guide uses.

/// A part of a page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// A heading with its level: 1 for the title.
    Heading(usize, String),
    /// A paragraph, on one line.
    Paragraph(String),
    /// An item of a list, with its marker (`-` or `1.`), on one line.
    Item(String, String),
    /// A row of a table: its first cell, and the others on one line.
    Row(String, String),
    /// A line of code.
    Code(String),
}

/// Splits a page into its blocks.
pub(crate) fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut header = Vec::new();
    // Whether the next line may continue the last block.
    let mut open = false;
    let mut in_code = false;
    for line in markdown.lines() {
        let continues = std::mem::replace(&mut open, false);
        if line.starts_with("```") {
            in_code = !in_code;
        } else if in_code {
            blocks.push(Block::Code(line.to_owned()));
        } else if let Some((level, title)) = heading(line) {
            blocks.push(Block::Heading(level, title.to_owned()));
        } else if line.starts_with('|') {
            blocks.extend(row(line, &mut header));
        } else if let Some((marker, item)) = item(line) {
            blocks.push(Block::Item(marker.to_owned(), item.to_owned()));
            open = true;
        } else if line.is_empty() {
            header.clear();
        } else {
            open = true;
            match blocks.last_mut() {
                Some(Block::Paragraph(text) | Block::Item(_, text)) if continues => {
                    text.push(' ');
                    text.push_str(line.trim());
                }
                Some(_) | None => blocks.push(Block::Paragraph(line.to_owned())),
            }
        }
    }
    blocks
}

/// A row of a table. In a table of more than two columns, each cell gets the name of its column.
fn row<'a>(line: &'a str, header: &mut Vec<&'a str>) -> Option<Block> {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    if header.is_empty() {
        *header = cells;
        return None;
    }
    let (first, rest) = cells.split_first()?;
    let named = rest
        .iter()
        .zip(&header[1..])
        .filter(|(cell, _)| !cell.is_empty());
    let rest: Vec<String> = match rest {
        [cell] => vec![(*cell).to_owned()],
        [_, ..] | [] => named
            .map(|(cell, name)| format!("{name}: {cell}"))
            .collect(),
    };
    let is_separator = first.starts_with("--");
    (!is_separator).then(|| Block::Row((*first).to_owned(), rest.join(", ")))
}

fn item(line: &str) -> Option<(&str, &str)> {
    let (marker, item) = line.split_once(' ')?;
    let number = marker.strip_suffix('.').unwrap_or_default();
    (marker == "-" || number.parse::<u32>().is_ok()).then_some((marker, item))
}

fn heading(line: &str) -> Option<(usize, &str)> {
    let title = line.trim_start_matches('#');
    let level = line.len() - title.len();
    (level > 0).then_some((level, title.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_blocks() {
        let markdown = "# A page\n\nOne\ntwo.\n\n## Part\n\n- item\n  continued\n- other\n\n1. x\n\n```console\n$ x\n```\n\n\
            | a | b |\n| --- | --- |\n| `c` | d |\n\n| a | b | c |\n| --- | --- | --- |\n| 1 | 2 | 3 |\n| 4 | 5 | |\n";
        let item = |marker: &str, text: &str| Block::Item(marker.into(), text.into());
        let row = |term: &str, text: &str| Block::Row(term.into(), text.into());
        let expected = [
            Block::Heading(1, "A page".into()),
            Block::Paragraph("One two.".into()),
            Block::Heading(2, "Part".into()),
            item("-", "item continued"),
            item("-", "other"),
            item("1.", "x"),
            Block::Code("$ x".into()),
            row("`c`", "d"),
            row("1", "b: 2, c: 3"),
            row("4", "b: 5"),
        ];
        assert_eq!(blocks(markdown), expected);
    }
}
