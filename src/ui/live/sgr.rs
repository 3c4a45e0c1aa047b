/// Which colours and attributes are switched on, as the sequences that did it.
///
/// Not as what they mean: new kinds come up, and what is repeated as it was cannot be repeated wrongly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SgrState {
    sequences: Vec<String>,
}

/// Beyond this the oldest is forgotten: only a program that never resets gets here, by one gradient after the other.
const MOST: usize = 32;

impl SgrState {
    /// Takes in the parameters of one `SGR` sequence (ECMA-48, 8.3.117; `38`, `48` and `58` as ITU T.416 has them).
    pub(super) fn apply<'a>(&mut self, params: impl Iterator<Item = &'a [u16]>) {
        let all: Vec<&[u16]> = params.collect();
        let after = after_reset(&all);
        if after > 0 {
            self.sequences.clear();
        }
        let rest: Vec<String> = all[after..].iter().map(|param| one(param)).collect();
        if rest.is_empty() {
            return;
        }
        let sequence = rest.join(";");
        self.sequences.retain(|known| *known != sequence);
        if self.sequences.len() == MOST {
            self.sequences.remove(0);
        }
        self.sequences.push(sequence);
    }

    pub(super) fn is_plain(&self) -> bool {
        self.sequences.is_empty()
    }

    /// The sequences that switch it on, from nothing.
    pub(super) fn write(&self, text: &mut String) {
        for sequence in &self.sequences {
            text.push_str("\x1b[");
            text.push_str(sequence);
            text.push('m');
        }
    }
}

/// The parameters of one sequence as they are written.
fn one(param: &[u16]) -> String {
    let parts: Vec<String> = param.iter().map(u16::to_string).collect();
    parts.join(":")
}

/// Where what counts begins: behind the last reset.
fn after_reset(all: &[&[u16]]) -> usize {
    let (mut after, mut at) = (0, 0);
    while at < all.len() {
        // A colour's numbers are no attributes: the 0 in `38;5;0` resets nothing.
        at += match all[at] {
            [38 | 48 | 58] => match all.get(at + 1) {
                Some([5]) => 3,
                Some([2]) => 5,
                Some(_) | None => 1,
            },
            [] | [0] => {
                after = at + 1;
                1
            }
            _ => 1,
        };
    }
    after.min(all.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(sequences: &[&[u16]]) -> String {
        let mut style = SgrState::default();
        for sequence in sequences {
            style.apply(sequence.iter().map(std::slice::from_ref));
        }
        let mut text = String::new();
        style.write(&mut text);
        text.replace('\x1b', "^")
    }

    #[test]
    fn what_is_on_is_repeated_and_a_reset_ends_it() {
        assert_eq!(after(&[&[1], &[31]]), "^[1m^[31m");
        assert_eq!(after(&[&[1, 31], &[0]]), "");
        assert_eq!(after(&[&[1], &[0, 32]]), "^[32m");
        assert_eq!(after(&[&[1], &[]]), "^[1m");
    }

    #[test]
    fn the_zero_of_a_colour_is_no_reset() {
        assert_eq!(after(&[&[1], &[38, 5, 0]]), "^[1m^[38;5;0m");
        assert_eq!(after(&[&[1], &[48, 2, 0, 0, 0]]), "^[1m^[48;2;0;0;0m");
        assert_eq!(after(&[&[1], &[38, 5, 0, 0, 4]]), "^[4m");
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let all: Vec<[u16; 5]> = (0..1000).map(|red| [38, 2, red, 0, 0]).collect();
        let all: Vec<&[u16]> = all.iter().map(<[u16; 5]>::as_slice).collect();
        assert!(after(&all).len() < 1000);
        assert_eq!(after(&[&[31], &[39], &[31], &[39]]), "^[31m^[39m");
    }
}
