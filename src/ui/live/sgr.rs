/// The colors and attributes that are on, as the sequences that switched them on.
///
/// The sequences are repeated, not interpreted, so new attributes work without a change here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SgrState {
    on: Vec<String>,
}

/// The maximum number of sequences to repeat; the oldest ones are dropped. Only programs that print many colors without
/// ever resetting all attributes (`ESC[m`) exceed it.
const MAX_SEQUENCES: usize = 32;

impl SgrState {
    /// Applies the parameters of one `SGR` sequence (ECMA-48, 8.3.117; `38`, `48` and `58` as in ITU T.416).
    pub(super) fn apply<'a>(&mut self, params: impl Iterator<Item = &'a [u16]>) {
        let all: Vec<&[u16]> = params.collect();
        let start = after_reset(&all);
        if start > 0 {
            self.on.clear();
        }
        if start == all.len() {
            return;
        }
        let sequence = sequence(all[start..].iter().copied());
        self.on.retain(|known| *known != sequence);
        if self.on.len() == MAX_SEQUENCES {
            self.on.remove(0);
        }
        self.on.push(sequence);
    }

    pub(super) fn is_plain(&self) -> bool {
        self.on.is_empty()
    }

    /// The sequences that switch everything on again.
    pub(super) fn sequences(&self) -> String {
        self.on.concat()
    }
}

/// The escape sequence with these parameters.
pub(super) fn sequence<'a>(params: impl Iterator<Item = &'a [u16]>) -> String {
    let param = |param: &[u16]| {
        let parts: Vec<String> = param.iter().map(u16::to_string).collect();
        parts.join(":")
    };
    let params: Vec<String> = params.map(param).collect();
    format!("\x1b[{}m", params.join(";"))
}

/// The index of the first parameter after the last reset.
fn after_reset(all: &[&[u16]]) -> usize {
    let (mut after, mut at) = (0, 0);
    while at < all.len() {
        // The 0 in `38;5;0` is part of a color and resets nothing.
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
        style.sequences().replace('\x1b', "^")
    }

    #[test]
    fn sequences_are_repeated_until_a_reset() {
        assert_eq!(after(&[&[1], &[31]]), "^[1m^[31m");
        assert_eq!(after(&[&[1, 31], &[0]]), "");
        assert_eq!(after(&[&[1], &[0, 32]]), "^[32m");
        assert_eq!(after(&[&[1], &[]]), "^[1m");
    }

    #[test]
    fn a_zero_inside_a_color_is_not_a_reset() {
        assert_eq!(after(&[&[1], &[38, 5, 0]]), "^[1m^[38;5;0m");
        assert_eq!(after(&[&[1], &[48, 2, 0, 0, 0]]), "^[1m^[48;2;0;0;0m");
        assert_eq!(after(&[&[1], &[38, 5, 0, 0, 4]]), "^[4m");
    }

    #[test]
    fn memory_is_bounded() {
        let all: Vec<[u16; 5]> = (0..1000).map(|red| [38, 2, red, 0, 0]).collect();
        let all: Vec<&[u16]> = all.iter().map(<[u16; 5]>::as_slice).collect();
        assert!(after(&all).len() < 1000);
        assert_eq!(after(&[&[31], &[39], &[31], &[39]]), "^[31m^[39m");
    }
}
