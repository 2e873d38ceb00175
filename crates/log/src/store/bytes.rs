//! Numbers as the files hold them: little-endian, or in as many groups of seven bits as they need.

/// Appending to a buffer.
pub(super) trait Put {
    fn put_u8(&mut self, number: u8);
    fn put_u32(&mut self, number: u32);
    fn put_u64(&mut self, number: u64);
    fn put_varint(&mut self, number: u64);
    fn put_bytes(&mut self, bytes: &[u8]);
    /// At most 255 bytes, after their number.
    fn put_short(&mut self, bytes: &[u8]);
}

impl Put for Vec<u8> {
    fn put_u8(&mut self, number: u8) {
        self.push(number);
    }

    fn put_u32(&mut self, number: u32) {
        self.extend_from_slice(&number.to_le_bytes());
    }

    fn put_u64(&mut self, number: u64) {
        self.extend_from_slice(&number.to_le_bytes());
    }

    fn put_varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.push(number as u8);
    }

    fn put_bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn put_short(&mut self, bytes: &[u8]) {
        let length = u8::try_from(bytes.len()).expect("names and ids are shorter than 256 bytes");
        self.push(length);
        self.extend_from_slice(bytes);
    }
}

/// Taking from a buffer, from the front. `None` when there is not enough, or it is no number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Take<'a>(pub(super) &'a [u8]);

impl<'a> Take<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn array16(&mut self) -> Option<[u8; 16]> {
        self.array()
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Option<u64> {
        match self.0.first_chunk::<8>() {
            Some(bytes) => self.short_varint(u64::from_le_bytes(*bytes)),
            None => self.long_varint(),
        }
    }

    /// A varint of at most eight bytes, all of which are at hand: no step depends on how many they
    /// are.
    #[inline]
    fn short_varint(&mut self, word: u64) -> Option<u64> {
        const LAST: u64 = 0x8080_8080_8080_8080;
        let last = !word & LAST;
        if last == 0 {
            return self.long_varint();
        }
        let bits = last.trailing_zeros() + 1;
        self.0 = &self.0[bits as usize / 8..];
        let mut groups = word & (u64::MAX >> (64 - bits)) & !LAST;
        // Neighbouring groups close up: of 7 bits, of 14, of 28.
        groups = (groups & 0x007F_007F_007F_007F) | ((groups & 0x7F00_7F00_7F00_7F00) >> 1);
        groups = (groups & 0x0000_3FFF_0000_3FFF) | ((groups & 0x3FFF_0000_3FFF_0000) >> 2);
        Some((groups & 0x0FFF_FFFF) | ((groups & 0x0FFF_FFFF_0000_0000) >> 4))
    }

    #[cold]
    fn long_varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let group = u64::from(byte & 0x7F);
            if shift == 63 && group > 1 {
                return None;
            }
            number |= group << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// The offset of a message: neither 0 nor the last number of all, so that there is one before it
    /// and one after it.
    #[inline]
    pub(super) fn offset(&mut self) -> Option<u64> {
        self.varint()
            .filter(|offset| (1..u64::MAX).contains(offset))
    }

    pub(super) fn varint_u32(&mut self) -> Option<u32> {
        u32::try_from(self.varint()?).ok()
    }

    pub(super) fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.bytes(usize::from(length))
    }

    /// The first bytes, and what follows them.
    pub(super) fn split(self, count: usize) -> Option<(&'a [u8], Self)> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        Some((bytes, Self(rest)))
    }

    /// What was taken since `whole` was what is left.
    pub(super) fn taken_of(&self, whole: Self) -> &'a [u8] {
        &whole.0[..whole.0.len() - self.0.len()]
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn varints_read_back(number: u64, shift in 0_u32..64) {
            let number = number >> shift;
            for behind in [0, 1, 9] {
                let mut bytes = Vec::new();
                bytes.put_varint(number);
                bytes.resize(bytes.len() + behind, 0xFF);
                let mut take = Take(&bytes);
                prop_assert_eq!(take.varint(), Some(number));
                prop_assert_eq!(take.0.len(), behind);
            }
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        assert_eq!(Take(&[0xFF; 10]).varint(), None);
        assert_eq!(Take(&[0x80]).varint(), None);
        assert_eq!(Take(&[1, 2, 3]).u32(), None);
        assert_eq!(Take(&[5, 1]).short(), None);
    }
}
