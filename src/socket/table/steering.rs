//! The program that chooses a slot, as data: classic BPF for `SO_ATTACH_REUSEPORT_CBPF`.

use crate::os::Instruction;

// `include/uapi/linux/bpf_common.h`, `filter.h`: class, size, mode, operation and source in one number.
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF: u16 = 0x28;
const LOAD_WORD: u16 = 0x20;
const AND: u16 = 0x54;
const MODULO: u16 = 0x94;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Offsets from here on count from the network header (`SKF_NET_OFF`), although the data begin after TCP's.
const NETWORK: u32 = -0x10_0000_i32 as u32;
/// A random number, 32 bits, new at each load (`SKF_AD_OFF + SKF_AD_RANDOM`).
const RANDOM: u32 = (-0x1000_i32 + 56) as u32;
/// Where the source port is, behind an IPv4 header without options and behind an IPv6 header without extensions.
const PORT_BEHIND_V4: u32 = 20;
const PORT_BEHIND_V6: u32 = 40;

/// Where a group sends its connections, in indices: the order in which the members joined.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::socket) struct Steering {
    /// One of these gets a new connection. Not empty.
    pub(in crate::socket) targets: Vec<u32>,
    /// A connection from one of these source ports goes to one of its own targets instead. None is empty.
    pub(in crate::socket) diverted: Vec<(u16, Vec<u32>)>,
}

impl Steering {
    /// The program that does it.
    pub(in crate::socket) fn program(&self) -> Vec<Instruction> {
        let mut program = Vec::new();
        if !self.diverted.is_empty() {
            program.extend(load_source_port());
        }
        for (port, targets) in &self.diverted {
            let pick = pick(targets);
            // A conditional jump reaches 255 instructions far, an unconditional one any number.
            program.push(jump_if_equal(u32::from(*port), 1, 0));
            program.push(plain(JUMP, pick.len() as u32));
            program.extend(pick);
        }
        program.extend(pick(&self.targets));
        program
    }
}

/// A socket for both families sees both, so the packet itself must tell which it is.
fn load_source_port() -> [Instruction; 6] {
    [
        plain(LOAD_BYTE, NETWORK),
        plain(AND, 0xf0),
        jump_if_equal(0x40, 0, 2),
        plain(LOAD_HALF, NETWORK + PORT_BEHIND_V4),
        plain(JUMP, 1),
        plain(LOAD_HALF, NETWORK + PORT_BEHIND_V6),
    ]
}

/// Returns one of `targets`, each as likely as the others.
fn pick(targets: &[u32]) -> Vec<Instruction> {
    let Some((last, others)) = targets.split_last() else {
        return Vec::new();
    };
    let mut pick = Vec::new();
    if !others.is_empty() {
        pick.push(plain(LOAD_WORD, RANDOM));
        pick.push(plain(MODULO, targets.len() as u32));
    }
    for (chosen, target) in (0..).zip(others) {
        pick.push(jump_if_equal(chosen, 0, 1));
        pick.push(plain(RETURN, *target));
    }
    pick.push(plain(RETURN, *last));
    pick
}

const fn plain(code: u16, k: u32) -> Instruction {
    Instruction {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

const fn jump_if_equal(k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction {
        code: JUMP_IF_EQUAL,
        jt,
        jf,
        k,
    }
}

#[cfg(test)]
pub(in crate::socket) mod tests {
    use super::*;

    /// A packet as the program sees it.
    #[derive(Clone, Copy, Debug)]
    pub(in crate::socket) struct Packet {
        pub(in crate::socket) v6: bool,
        pub(in crate::socket) source_port: u16,
        pub(in crate::socket) random: u32,
    }

    impl Packet {
        fn byte(&self, offset: u32) -> u8 {
            let port = if self.v6 {
                PORT_BEHIND_V6
            } else {
                PORT_BEHIND_V4
            };
            let [high, low] = self.source_port.to_be_bytes();
            match offset - NETWORK {
                0 if self.v6 => 0x6a,
                0 => 0x45,
                at if at == port => high,
                at if at == port + 1 => low,
                _ => 0xee,
            }
        }

        fn load(&self, offset: u32, bytes: u32) -> u32 {
            (0..bytes).fold(0, |value, at| {
                value << 8 | u32::from(self.byte(offset + at))
            })
        }
    }

    /// What the kernel's interpreter returns (`bpf_check_classic` refuses what panics here).
    pub(in crate::socket) fn run(program: &[Instruction], packet: &Packet) -> u32 {
        let (mut at, mut a) = (0_usize, 0_u32);
        loop {
            let Instruction { code, jt, jf, k } = program[at];
            at += 1;
            match code {
                LOAD_BYTE => a = packet.load(k, 1),
                LOAD_HALF => a = packet.load(k, 2),
                LOAD_WORD if k == RANDOM => a = packet.random,
                LOAD_WORD => a = packet.load(k, 4),
                AND => a &= k,
                MODULO => a %= k,
                JUMP => at += k as usize,
                JUMP_IF_EQUAL => at += usize::from(if a == k { jt } else { jf }),
                RETURN => return k,
                other => panic!("no such instruction: {other:#x}"),
            }
        }
    }

    fn chosen(steering: &Steering, source_port: u16) -> Vec<u32> {
        let program = steering.program();
        let packet = |v6, random| Packet {
            v6,
            source_port,
            random,
        };
        let both = [false, true].map(|v6| {
            let mut all: Vec<u32> = (0..1000)
                .map(|random| run(&program, &packet(v6, random)))
                .collect();
            all.sort_unstable();
            all.dedup();
            all
        });
        assert_eq!(both[0], both[1], "IPv4 and IPv6 differ");
        both[0].clone()
    }

    #[test]
    fn one_target_is_one_instruction() {
        let steering = Steering {
            targets: vec![3],
            diverted: Vec::new(),
        };
        assert_eq!(steering.program(), [plain(RETURN, 3)]);
    }

    #[test]
    fn a_diverted_port_reaches_its_own_target_and_no_other_does() {
        let steering = Steering {
            targets: vec![0],
            diverted: vec![(40_001, vec![1]), (40_002, vec![2])],
        };
        for (port, expected) in [(40_001, 1), (40_002, 2), (40_000, 0), (1, 0), (0xeeee, 0)] {
            assert_eq!(chosen(&steering, port), [expected], "port {port}");
        }
    }

    #[test]
    fn several_targets_get_equal_shares() {
        let steering = Steering {
            targets: vec![5, 1, 7],
            diverted: vec![(9, vec![2, 4])],
        };
        assert_eq!(chosen(&steering, 8), [1, 5, 7]);
        assert_eq!(chosen(&steering, 9), [2, 4]);
        let program = steering.program();
        let mut counts = [0; 8];
        for random in 0..300 {
            counts[run(
                &program,
                &Packet {
                    v6: false,
                    source_port: 8,
                    random,
                },
            ) as usize] += 1;
        }
        assert_eq!(counts, [0, 100, 0, 0, 0, 100, 0, 100]);
    }

    #[test]
    fn hundreds_of_targets_are_within_reach_of_the_jumps() {
        let targets: Vec<u32> = (0..600).collect();
        let steering = Steering {
            targets: vec![1000],
            diverted: vec![(9, targets.clone()), (10, vec![2000])],
        };
        assert_eq!(chosen(&steering, 9), targets);
        assert_eq!(chosen(&steering, 10), [2000]);
        assert_eq!(chosen(&steering, 11), [1000]);
    }
}
