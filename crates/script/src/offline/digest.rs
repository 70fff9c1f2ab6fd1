// SPDX-License-Identifier: Apache-2.0
//! MD5 (RFC 1321) and SHA-1 (RFC 3174), by their descriptions: httpd brings its own, and no secret
//! depends on these.

/// The message with its end: a set bit, zeros, and the length in bits.
fn padded(data: &[u8], length: [u8; 8]) -> Vec<u8> {
    let mut all = data.to_vec();
    all.push(0x80);
    let end = (data.len() + 9).next_multiple_of(64) - 8;
    all.resize(end, 0);
    all.extend(length);
    all
}

fn words(block: &[u8], read: fn([u8; 4]) -> u32) -> impl Iterator<Item = u32> {
    block.chunks_exact(4).map(move |bytes| read([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// MD5, 16 bytes.
pub(super) fn md5(data: &[u8]) -> Vec<u8> {
    const TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    let bits = (data.len() as u64).wrapping_mul(8);
    for block in padded(data, bits.to_le_bytes()).chunks_exact(64) {
        let message: Vec<u32> = words(block, u32::from_le_bytes).collect();
        let [mut a, mut b, mut c, mut d] = state;
        for step in 0..64 {
            let (mixed, at) = match step / 16 {
                0 => (b & c | !b & d, step),
                1 => (d & b | !d & c, (5 * step + 1) % 16),
                2 => (b ^ c ^ d, (3 * step + 5) % 16),
                _ => (c ^ (b | !d), 7 * step % 16),
            };
            let constant = ((step as f64 + 1.0).sin().abs() * 4_294_967_296.0) as u32;
            let sum = a.wrapping_add(mixed).wrapping_add(constant).wrapping_add(message[at]);
            let turned = sum.rotate_left(TURNS[step / 16][step % 4]);
            (a, d, c, b) = (d, c, b, b.wrapping_add(turned));
        }
        for (word, by) in state.iter_mut().zip([a, b, c, d]) {
            *word = word.wrapping_add(by);
        }
    }
    state.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// SHA-1, 20 bytes.
pub(super) fn sha1(data: &[u8]) -> Vec<u8> {
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let bits = (data.len() as u64).wrapping_mul(8);
    for block in padded(data, bits.to_be_bytes()).chunks_exact(64) {
        let mut message: Vec<u32> = words(block, u32::from_be_bytes).collect();
        for at in 16..80 {
            let word = message[at - 3] ^ message[at - 8] ^ message[at - 14] ^ message[at - 16];
            message.push(word.rotate_left(1));
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (step, word) in message.iter().enumerate() {
            let (mixed, constant) = match step / 20 {
                0 => (b & c | !b & d, 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => (b & c | b & d | c & d, 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let sum = a.rotate_left(5).wrapping_add(mixed).wrapping_add(e);
            let sum = sum.wrapping_add(constant).wrapping_add(*word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, sum);
        }
        for (word, by) in state.iter_mut().zip([a, b, c, d, e]) {
            *word = word.wrapping_add(by);
        }
    }
    state.iter().flat_map(|word| word.to_be_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strings::text::hex;

    #[test]
    fn digests_are_those_of_the_descriptions() {
        let alphabet = b"abcdefghijklmnopqrstuvwxyz";
        assert_eq!(hex(&md5(b"")), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(hex(&md5(b"abc")), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(hex(&md5(alphabet)), "c3fcd3d76192e4007dfb496cca67e13b");
        assert_eq!(hex(&sha1(b"")), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(hex(&sha1(b"abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
        let long = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(hex(&sha1(long)), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
        for length in 50..130 {
            assert_eq!(padded(&vec![0; length], [0; 8]).len(), (length + 9).next_multiple_of(64));
        }
    }
}
