//! The user guide, with one page per topic. `hotrun help TOPIC` prints a page, and the man page contains all of them.
//!
//! To add a page, write `src/guide/TOPIC.md`, with `# Title` as the first line, and add the topic to the list in this
//! file. Pages are printed as they are, so keep lines to at most 78 columns, and align tables.

macro_rules! pages {
    ($($topic:ident),* $(,)?) => {
        $(
            #[doc = include_str!(concat!("guide/", stringify!($topic), ".md"))]
            pub mod $topic {}
        )*

        /// All pages, in the order in which `hotrun help` lists them.
        pub const PAGES: &[GuidePage] = &[$(GuidePage {
            topic: stringify!($topic),
            text: include_str!(concat!("guide/", stringify!($topic), ".md")),
        }),*];
    };
}

pages! {
    reload,
    sockets,
    readiness,
    share,
    instances,
    crashes,
    watching,
    sources,
    notify,
    terminal,
    json,
    migrating,
    measurements,
}

/// A page of the guide.
#[derive(Clone, Copy, Debug)]
pub struct GuidePage {
    /// The word after `hotrun help`.
    pub topic: &'static str,
    /// The page in Markdown.
    pub text: &'static str,
}

impl GuidePage {
    /// The heading of the page.
    pub fn title(&self) -> &'static str {
        let first = self.text.lines().next().unwrap_or_default();
        first.trim_start_matches("# ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_starts_with_its_title_and_has_short_lines() {
        for page in PAGES {
            assert!(page.text.starts_with("# "), "{}", page.topic);
            for line in page.text.lines() {
                assert!(line.chars().count() <= 78, "{}: {line}", page.topic);
            }
        }
    }

    #[test]
    fn every_page_in_the_directory_is_in_the_list() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide");
        for entry in std::fs::read_dir(directory).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if let Some(topic) = name.strip_suffix(".md") {
                assert!(PAGES.iter().any(|page| page.topic == topic), "{name}");
            }
        }
    }
}
