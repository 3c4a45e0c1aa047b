//! Runs the steering program in an interpreter.

use super::*;
use crate::os::Instruction;

/// A packet, as the program sees it.
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

/// Interprets a program as the kernel does. Panics on programs that the kernel's `bpf_check_classic` refuses.
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
            Instruction::JUMP_IF_EQUAL => at += usize::from(if a == k { jt } else { jf }),
            Instruction::JUMP_IF_AT_LEAST => at += usize::from(if a >= k { jt } else { jf }),
            Instruction::RETURN => return k,
            other => panic!("unknown instruction: {other:#x}"),
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
    assert_eq!(both[0], both[1], "IPv4 and IPv6 packets are steered alike");
    both[0].clone()
}

#[test]
fn a_program_with_one_target_is_one_instruction() {
    let steering = Steering {
        pool: vec![(100, vec![3])],
        diverted: Vec::new(),
    };
    assert_eq!(
        steering.program(),
        [Instruction::plain(Instruction::RETURN, 3)]
    );
}

#[test]
fn only_a_diverted_port_reaches_its_own_target() {
    let steering = Steering {
        pool: vec![(100, vec![0])],
        diverted: vec![(40_001, vec![1]), (40_002, vec![2])],
    };
    for (port, expected) in [(40_001, 1), (40_002, 2), (40_000, 0), (1, 0), (0xeeee, 0)] {
        assert_eq!(chosen(&steering, port), [expected], "port {port}");
    }
}

#[test]
fn several_targets_get_equal_shares() {
    let steering = Steering {
        pool: vec![(100, vec![5, 1, 7])],
        diverted: vec![(9, vec![2, 4])],
    };
    assert_eq!(chosen(&steering, 8), [1, 5, 7]);
    assert_eq!(chosen(&steering, 9), [2, 4]);
    assert_eq!(counts(&steering, 0..300), [0, 100, 0, 0, 0, 100, 0, 100]);
}

/// Returns how often each index is chosen, for one random number each.
fn counts(steering: &Steering, randoms: std::ops::Range<u32>) -> [u32; 8] {
    let program = steering.program();
    let mut counts = [0; 8];
    for random in randoms {
        let packet = Packet {
            v6: false,
            source_port: 8,
            random,
        };
        counts[run(&program, &packet) as usize] += 1;
    }
    counts
}

/// Within a share, the choice is even. The model's random number is the same for both choices, the kernel's is not.
#[test]
fn shares_are_percentages() {
    let two = Steering {
        pool: vec![(10, vec![3]), (90, vec![1])],
        diverted: vec![(9, vec![2, 4])],
    };
    assert_eq!(counts(&two, 0..1000), [0, 900, 0, 100, 0, 0, 0, 0]);
    assert_eq!(chosen(&two, 9), [2, 4]);
    let three = Steering {
        pool: vec![(33, vec![0, 2]), (33, vec![5]), (34, vec![1])],
        diverted: Vec::new(),
    };
    let [a, b, c, _, _, d, ..] = counts(&three, 0..200);
    assert_eq!((a + c, d, b), (66, 66, 68));
    assert_eq!(chosen(&three, 8), [0, 1, 2, 5]);
}

#[test]
fn jumps_reach_across_hundreds_of_targets() {
    let targets: Vec<u32> = (0..600).collect();
    let steering = Steering {
        pool: vec![(50, targets.clone()), (50, vec![1000])],
        diverted: vec![(9, targets.clone()), (10, vec![2000])],
    };
    assert_eq!(chosen(&steering, 9), targets);
    assert_eq!(chosen(&steering, 10), [2000]);
    let below = chosen(&steering, 11);
    assert!(below.contains(&49) && below.contains(&1000), "{below:?}");
}
