// SPDX-License-Identifier: Apache-2.0
//! Numbers and short texts as bytes, for entries of the table's rings. Nothing is allocated for
//! packing, so that a request can do it.

/// Packs into a buffer. Parts that no longer fit are left out: a text is cut, a number missing.
#[derive(Debug)]
pub struct Packer<'b> {
    room: &'b mut [u8],
    used: usize,
}

impl<'b> Packer<'b> {
    /// Begins at the start of the buffer.
    pub fn new(room: &'b mut [u8]) -> Self {
        Packer { room, used: 0 }
    }

    /// Bytes that are still free.
    pub fn left(&self) -> usize {
        self.room.len() - self.used
    }

    fn bytes(&mut self, bytes: &[u8]) -> bool {
        let place = self.room.get_mut(self.used..self.used + bytes.len());
        let fits = place.map(|place| place.copy_from_slice(bytes)).is_some();
        if fits {
            self.used += bytes.len();
        } else {
            // Nothing may follow behind a gap.
            self.room = &mut std::mem::take(&mut self.room)[..self.used];
        }
        fits
    }

    /// One byte.
    pub fn byte(&mut self, byte: u8) {
        self.bytes(&[byte]);
    }

    /// A number, in eight bytes.
    pub fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    /// The longest whole beginning of a text that has at most `most` bytes, and fits.
    pub fn text(&mut self, text: &str, most: usize) {
        let kept = beginning(text, most.min(self.left().saturating_sub(2)).min(usize::from(u16::MAX)));
        if self.bytes(&(kept.len() as u16).to_le_bytes()) {
            self.bytes(kept.as_bytes());
        }
    }

    /// The bytes that have been packed.
    pub fn packed(self) -> &'b [u8] {
        &self.room[..self.used]
    }
}

/// The longest beginning of whole characters with at most `most` bytes.
pub fn beginning(text: &str, most: usize) -> &str {
    let ends = (0..=most.min(text.len())).rev();
    ends.take(4).find_map(|end| text.get(..end)).unwrap_or_default()
}

/// Reads what a [`Packer`] has packed, in the same order.
#[derive(Debug, Clone)]
pub struct Unpacker<'b>(pub &'b [u8]);

impl<'b> Unpacker<'b> {
    fn bytes(&mut self, length: usize) -> Option<&'b [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// One byte. None at the end, here and below.
    pub fn byte(&mut self) -> Option<u8> {
        self.bytes(1)?.first().copied()
    }

    /// A number.
    pub fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(8)?.try_into().ok()?))
    }

    /// A text. None as well when it is not UTF-8.
    pub fn text(&mut self) -> Option<&'b str> {
        let length = u16::from_le_bytes(self.bytes(2)?.try_into().ok()?);
        std::str::from_utf8(self.bytes(usize::from(length))?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_values_are_read_in_the_same_order() {
        let mut room = [0; 64];
        let mut packer = Packer::new(&mut room);
        packer.byte(7);
        packer.text("größer", 100);
        packer.number(u64::MAX - 1);
        packer.text("", 100);
        let mut read = Unpacker(packer.packed());
        assert_eq!((read.byte(), read.text(), read.number()), (Some(7), Some("größer"), Some(u64::MAX - 1)));
        assert_eq!((read.text(), read.text(), read.byte(), read.number()), (Some(""), None, None, None));
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        for (most, expected) in [(0, ""), (2, "gr"), (3, "gr"), (4, "grö"), (8, "größer"), (9, "größer")]
        {
            let mut room = [0; 64];
            let mut packer = Packer::new(&mut room);
            packer.text("größer", most);
            assert_eq!(Unpacker(packer.packed()).text(), Some(expected), "{most} bytes");
        }
        let mut room = [0; 5];
        let mut packer = Packer::new(&mut room);
        packer.text("größer", 100);
        assert_eq!(Unpacker(packer.packed()).text(), Some("gr"));
    }

    #[test]
    fn nothing_follows_what_did_not_fit() {
        let mut room = [0; 9];
        let mut packer = Packer::new(&mut room);
        packer.text("abc", 100);
        packer.number(1);
        packer.byte(2);
        assert_eq!(packer.packed().len(), 5);
    }

    #[test]
    fn bytes_of_others_are_refused_without_a_panic() {
        for bytes in [&[][..], &[255], &[9, 0, b'a'], &[2, 0, 0xff, 0xfe], &[255, 255]] {
            assert_eq!(Unpacker(bytes).text(), None, "{bytes:?}");
        }
    }
}
